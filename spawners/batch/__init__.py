"""The batch core: the only place that knows how to run a batch job as a user."""
