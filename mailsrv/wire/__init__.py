"""Protocol engines (floor 1): octets in, events out, octets back.  No input or output, no Twisted, no time."""
