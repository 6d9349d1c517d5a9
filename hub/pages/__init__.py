"""What people see of the hub: the spawn page, and what it asks."""
