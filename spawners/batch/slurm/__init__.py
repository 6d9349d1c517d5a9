"""Batch jobs through Slurm's commands."""
