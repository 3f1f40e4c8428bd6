"""Message stores (floor 2b); each also keeps the directory and, later, the queue."""
