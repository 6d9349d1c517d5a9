"""Parsers of what strangers write, and inputs for them."""
