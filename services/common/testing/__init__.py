"""Shipped for tests of services: a hub of a few answers, and a service in process."""
