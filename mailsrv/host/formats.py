"""The message formats of a site's servers, and since when IMAP clients see them (floor 6; decisions 30)."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from ..errors import ConfigError
from ..interfaces import IMessageStore
from ..message.format import fingerprint
from ..serve.formatted import Format, FormattedStore
from .config.edit import write_atomically
from .config.options import ImapOptions, Pop3Options, SiteOptions

log = Logger()

#: In the data folder: IMAP server -> fingerprint of its format, and the instant of its last change.
FILE = "formats.json"
_STORED = "stored"
#: Seconds that a login by POP3 waits for sizes that were not made before: clients give up after half a minute or more.
PATIENCE = 20.0


class Formats:
    """What each server shows.  A format that is another one than at the last start is written down (`keep`) before any
    client sees it."""

    def __init__(self, options: SiteOptions, aside: Callable[..., Any], now: Callable[[], float]) -> None:
        self._options, self._aside, self._now = options, aside, now
        self._path = Path(options.data) / FILE
        self._known = self._read()
        self._formats = {name: self._format(name, server) for name, server in options.servers.items()}

    def store_of(self, server: str, store: IMessageStore) -> IMessageStore:
        """The store as sessions of a server see it."""
        found = self._formats[server]
        return store if found is None else FormattedStore(store, found)

    def _format(self, name: str, server: Any) -> Format | None:
        if not isinstance(server, ImapOptions | Pop3Options):
            return None
        options, fast = server.format.options(), False
        since = 0
        if isinstance(server, ImapOptions):
            fast = server.fast_retrieval
            since = self._since(name, fingerprint(options) + (".fast" if fast and not options.stored else ""))
        if options.stored and not since:
            return None
        patience = PATIENCE if isinstance(server, Pop3Options) else inf
        return Format(options, self._aside, since, fast, patience)

    def _since(self, name: str, wanted: str) -> int:
        """The instant from which UIDVALIDITY counts for this format; 0: it never was another one than stored."""
        was, since = self._known.get(name, (_STORED, 0))
        if was != wanted:
            since = max(int(self._now()), since + 1)
            log.warn(
                "messages look different on {server} now ({shown}): IMAP clients will fetch all of them again",
                server=name, shown=wanted,
            )  # fmt: skip
            self._known[name] = (wanted, since)
        return since

    def _read(self) -> dict[str, tuple[str, int]]:
        """Raises ConfigError."""
        try:
            found = json.loads(self._path.read_text("utf-8"))
            return {str(name): (str(kind), int(since)) for name, (kind, since) in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                "cannot be read: restore it, or delete it; then IMAP clients of servers with a format fetch all again",
                file=str(self._path),
            ) from error

    def keep(self) -> None:
        """Durable: a client that has seen a rendering must never be told the UIDVALIDITY from before.  Raises
        ConfigError when it cannot be written."""
        if self._known != self._read():
            write_atomically(self._path, json.dumps(self._known, indent=1, sort_keys=True).encode(), 0o600)
