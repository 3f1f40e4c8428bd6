"""Authenticators, mechanisms and the authorizer (floor 2b)."""
