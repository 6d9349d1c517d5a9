"""A gateway on a Slurm whose parts fail on command."""
