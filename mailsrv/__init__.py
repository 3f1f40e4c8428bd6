"""mailsrv: a pluggable mail server framework for Twisted."""

__version__ = "0.1.0"
