"""Internet Message Format and MIME (floor 1): pure functions on octets."""
