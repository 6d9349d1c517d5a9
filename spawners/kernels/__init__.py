"""Kernels as batch jobs: the provisioner, and the near end of each tunnel."""
