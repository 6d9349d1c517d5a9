"""What is done next about each record, and the queue that has it done."""
