"""What the jobs service keeps beside the records of jobs."""
