"""HAProxy with origins behind it, and clients that leave."""
