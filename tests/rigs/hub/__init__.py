"""A real hub in a process of its own, and who listens, races or asks there."""
