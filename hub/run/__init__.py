"""The commands that run, examine and ask the gateway."""
