"""Running a batch system's commands as ourselves or as the user."""
