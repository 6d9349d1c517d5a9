"""Adapters that run notebook servers and kernels as batch jobs."""
