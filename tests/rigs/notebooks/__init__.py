"""Notebook servers: spawners without a hub, a server alone, a server of a hub."""
