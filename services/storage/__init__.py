"""Object storage: browse anything, hand out keys that expire."""
