"""Short-lived keys for users, by what the store offers."""
