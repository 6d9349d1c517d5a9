"""A kernel's job on its node: launcher, kernel process, far end of the tunnel."""
