"""Who signs in, and which accounts may."""
