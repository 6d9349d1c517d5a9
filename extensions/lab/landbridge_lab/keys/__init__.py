"""Short-lived S3 keys for the kernels and terminals of this server."""
