"""The `mailsrv` command: one module per noun."""
