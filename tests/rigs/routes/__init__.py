"""Every route of the gateway: who may, and the asking of all."""
