"""The gateway's edge: HAProxy, its configuration, its maps, and what keeps it up."""
