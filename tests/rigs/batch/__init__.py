"""The batch core under test: jobs, agents, local jobs, and what can go wrong."""
