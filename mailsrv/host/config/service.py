"""What holds for all servers of a protocol (floor 4)."""

from __future__ import annotations

from attrs import frozen

from ...parts import choice, option

#: How a server begins with the site.
STARTUP = choice("automatic", "manual")


@frozen
class ServiceTable:
    """[service.smtp], [service.imap], [service.pop3]"""

    startup: str = option(STARTUP, "automatic", "of its servers: manual: stopped until started by hand (S-013)")
