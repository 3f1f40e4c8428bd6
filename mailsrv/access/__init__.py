"""Who may connect and who may relay (floor 2b)."""
