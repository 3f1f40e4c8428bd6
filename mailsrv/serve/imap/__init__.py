"""The IMAP4 session (floor 3)."""
