"""What JupyterLab's extension asks and shows: a storage service, files."""
