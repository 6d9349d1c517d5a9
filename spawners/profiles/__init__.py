"""What users may pick, and what that comes to as a job."""
