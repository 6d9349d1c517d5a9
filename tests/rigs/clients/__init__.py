"""Real S3 clients in a kernel of their own."""
