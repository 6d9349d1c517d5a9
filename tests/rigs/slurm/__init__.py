"""A private Slurm: on one host, on machines of its own, and what it once answered."""
