"""What goes on behind the calls: durable tasks and their turns."""
