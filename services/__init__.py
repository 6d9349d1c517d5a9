"""The hub's services."""
