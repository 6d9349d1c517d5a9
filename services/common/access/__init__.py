"""Who may use what, and until when."""
