"""Programs that travel to compute nodes: Python 3.6's standard library only."""
