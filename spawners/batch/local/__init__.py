"""Batch jobs without a batch system: a queue of this machine's own."""
