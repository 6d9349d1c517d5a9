"""Migrations of the job store's tables; applied when a store is opened."""
