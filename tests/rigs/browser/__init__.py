"""Chromium, a gateway for it, and the pages as people use them."""
