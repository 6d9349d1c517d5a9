"""A thin S3 client: what the gateway asks of a store, and nothing more."""
