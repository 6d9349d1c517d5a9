"""Where a job is and why it ended, in plain words. No I/O."""
