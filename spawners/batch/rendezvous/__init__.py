"""Where a started job proves itself, gets its work and reports."""
