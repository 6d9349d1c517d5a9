"""What this server asks of the gateway: its own job, and the storage service."""
