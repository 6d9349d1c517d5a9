"""The gateway's own API on the hub, below ``/hub/api/landbridge/``."""
