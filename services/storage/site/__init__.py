"""The site's store: embedded or reached, found out, watched."""
