"""Notebook servers as batch jobs: JupyterHub's spawner."""
