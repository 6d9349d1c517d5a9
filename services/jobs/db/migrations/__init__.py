"""Migrations of the storage service's tables."""
