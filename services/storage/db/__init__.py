"""What the storage service itself remembers."""
