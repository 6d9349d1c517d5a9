"""The site's settings, and what the machine offers where they say nothing."""
