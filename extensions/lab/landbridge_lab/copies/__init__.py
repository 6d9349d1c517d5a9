"""Copies between the home directory and buckets, done within the notebook server."""
