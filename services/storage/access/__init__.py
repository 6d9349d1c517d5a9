"""Who may use which bucket, until when, and how much of it."""
