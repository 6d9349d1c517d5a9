"""Long work: copying, moving, deleting prefixes, and upkeep."""
