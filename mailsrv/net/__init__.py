"""Where Twisted and the file system are touched (floor 2a)."""
