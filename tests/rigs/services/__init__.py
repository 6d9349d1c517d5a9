"""A service in its process, and people who use it."""
