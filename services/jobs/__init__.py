"""Every job of the gateway: the one process that may become its users."""
