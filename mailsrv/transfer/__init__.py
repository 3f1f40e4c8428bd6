"""Message transfer and delivery (floor 2b)."""
