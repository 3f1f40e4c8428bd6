"""Certificates that end soon, and a look at their files now and then (floor 6)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from ..errors import ConfigError
from .certificates import Certificates, Entry, Shelf
from .config.options import SiteOptions

log = Logger()

#: Days before the end at which the log tells of it; 0: it has expired.
WARNED = (30, 14, 7, 3, 1, 0)
#: Lines of one telling.
MAX_TOLD = 20
#: Seconds between two looks at files, and two looks at dates.
LOOK, DAY = 30.0, 86400.0


def users_of(options: SiteOptions, name: str) -> list[str]:
    """The servers that show certificates of a table."""
    return [server.id for server in options.servers.values() if name in (server.certificate, *server.certificates)]


def used(options: SiteOptions, certificates: Certificates) -> Iterator[tuple[Shelf, Entry]]:
    """Every certificate that a server may show."""
    for name, shelf in certificates.shelves.items():
        if users_of(options, name):
            for entry in shelf.entries:
                yield shelf, entry


def step_of(days: int) -> int | None:
    """Which of the steps of WARNED so many days are within; None for enough of them."""
    return min((step for step in WARNED if days < step or (step == 0 and days < 0)), default=None)


def expiry_text(entry: Entry, days: int) -> str:
    """What to say of one that ends soon."""
    assert entry.facts is not None
    name = entry.facts.names[0] if entry.facts.names else entry.facts.subject
    when = f"{entry.facts.ends:%Y-%m-%d}"
    if days < 0:
        return f"the certificate of {name} expired on {when}; clients refuse it: {entry.pair.certificate}"
    left = "tomorrow" if days == 1 else "within a day" if days == 0 else f"in {days} days"
    return f"the certificate of {name} expires {left}, on {when}: {entry.pair.certificate}"


def certificate_warnings(options: SiteOptions, base: Path) -> list[ConfigError]:
    """What `mailsrv check` tells of the certificates that servers name: files that are not there or cannot be used,
    and what has expired or will within 30 days.  Reads the files."""
    found: list[ConfigError] = []
    now = datetime.now(UTC)
    certificates = Certificates(options, base, time.monotonic, finish=False)
    certificates.look()
    for name, shelf in certificates.shelves.items():
        if users_of(options, name):
            found += _unusable(options, shelf)
    for shelf, entry in used(options, certificates):
        if entry.facts is not None and step_of(days := entry.facts.days_left(now)) is not None:
            found.append(ConfigError(expiry_text(entry, days), file=str(options.file or ""), key=f"tls.{shelf.name}"))
    return found


def _unusable(options: SiteOptions, shelf: Shelf) -> Iterator[ConfigError]:
    """Why servers would stand still, or what they would not show."""
    file, key = str(options.file or ""), f"tls.{shelf.name}"
    if shelf.folder is None:
        there = True
        for what, path in (("certificate", shelf.pair.certificate), ("key", shelf.pair.key)):
            if not path.exists():
                made = shelf.name == "default" and options.makes_certificate
                then = "it is made at the start" if made else "the servers that name it stay stopped"
                there = False
                yield ConfigError(f"{path} is not there; {then}", file=file, key=f"{key}.{what}")
        if not there:
            return
    elif shelf.trouble or not shelf.entries:
        text = shelf.trouble or "no pair of certificate and key is there"
        yield ConfigError(f"{shelf.folder}: {text}", file=file, key=f"{key}.directory")
    for entry in shelf.entries:
        try:
            shelf.check(entry.pair)
        except ConfigError as error:
            yield error


class CertificateWatch:
    """Looks at files and dates while a site runs; `look` gives what the log was told."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._call: Any = None
        self._running = False
        self._told: dict[Path, int] = {}
        self._next_day = float("-inf")

    def start(self) -> CertificateWatch:
        """Look now, and every half minute."""
        self._running = True
        self._turn()
        return self

    def stop(self) -> None:
        """Look no more."""
        self._running = False
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _turn(self) -> None:
        done = self._site.aside(self._site.certificates.look)
        done.addCallbacks(self._looked, self._failed)
        done.addErrback(self._failed)

    def _looked(self, _: Any) -> None:
        if self._running:
            if self._site.monotonic() >= self._next_day:
                self._next_day = self._site.monotonic() + DAY
                self.tell()
            self._call = self._site.reactor.callLater(LOOK, self._turn)

    def _failed(self, failure: Any) -> None:
        log.failure("the certificates could not be looked at", failure=failure)
        if self._running:
            self._call = self._site.reactor.callLater(LOOK, self._turn)

    def tell(self) -> list[str]:
        """Log those that end soon, each once for each step; gives the lines."""
        now = datetime.fromtimestamp(self._site.clock(), UTC)
        lines, told = [], {}
        for _, entry in used(self._site.options, self._site.certificates):
            if entry.facts is None:
                continue
            days = entry.facts.days_left(now)
            step = step_of(days)
            if step is not None:
                told[entry.pair.certificate] = step
                # One that has expired is told of every day.
                if step == 0 or self._told.get(entry.pair.certificate, 99) > step:
                    lines.append(expiry_text(entry, days))
        self._told = told
        for line in lines[:MAX_TOLD]:
            log.warn("{line}", line=line)
            self._site.events.publish("certificate.warning", text=line)
        if len(lines) > MAX_TOLD:
            log.warn("{count} more certificates expire: `mailsrv certificate list`", count=len(lines) - MAX_TOLD)
        return lines
