"""What a session does (floor 3): speaks to engines below and contracts beside."""
