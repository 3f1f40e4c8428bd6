"""Virtual servers and the site (floor 4)."""
