"""The certificates of a site (floor 6; S-050, S-051): every [tls.NAME], and which one a client is shown.

A server shows its `certificate`, or what fits the host that the client asks for (RFC 6066 section 3): of its
`certificate` when that is a folder, and of the tables in `certificates`.  Files are opened when a client first needs
them, and a bounded number stays open; `CertificateWatch` looks, aside, at what is in folders.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography import x509
from twisted.logger import Logger

from ..errors import ConfigError
from ..net.certificate import ensure, finish_replacing
from ..net.certificate_facts import Facts, patterns_for, read_facts
from ..net.certificate_folder import Pair, pairs_in
from ..net.tls import Certificate, Named, ServerTls, fit, read_key
from .config.certificates import CertificateTable
from .config.options import ServerOptions, SiteOptions

log = Logger()

#: Pairs of a folder whose contexts are kept, 25 KB each.
MAX_OPEN = 1000
#: Seconds in which one that cannot be used is not tried again.
_BROKEN = 5.0


@frozen
class Entry:
    """One certificate of a table.  `facts` are None while it was not looked at, or when `error` tells why not."""

    pair: Pair
    facts: Facts | None = None
    error: str = ""


class Shelf:
    """The certificates of one [tls.NAME]: one pair of files, or all pairs of a folder."""

    def __init__(self, name: str, table: CertificateTable, base: Path, monotonic: Callable[[], float]) -> None:
        self.name, self.table = name, table
        self.folder = base / table.directory if table.directory else None
        self._base, self._monotonic = base, monotonic
        self._single = Pair(name, base / table.certificate, base / table.key)
        self._entries: dict[Pair, Entry] = {}
        self._stamps: dict[Pair, tuple[int, int, int]] = {}
        self._by_host: dict[str, Pair] = {}
        self._open: OrderedDict[Pair, Certificate] = OrderedDict()
        self._broken: dict[Pair, float] = {}
        #: What is wrong with the keys, "" for nothing, and the files for which that holds.
        self._keys: dict[Pair, tuple[Any, str]] = {}
        self.trouble = ""
        self._adopt({pair: Entry(pair) for pair in self._list()}, {})

    @property
    def entries(self) -> list[Entry]:
        """What is known of each."""
        return list(self._entries.values())

    @property
    def pair(self) -> Pair:
        """Where the one pair of a table without a folder lies."""
        return self._single

    def check(self, pair: Pair) -> None:
        """Read certificate and key of a pair.  Raises ConfigError when they cannot be used."""
        self._made(pair).check()

    def key_trouble(self, pair: Pair) -> str:
        """What is wrong with the key of a pair, or ""; read when one of the files is another one.  Blocks."""
        try:
            stamps = tuple(map(_stamp, (pair.certificate, pair.key)))
            known = self._keys.get(pair)
            if known is None or known[0] != stamps:
                leaf = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
                text = "" if fit(leaf, read_key(pair.key)) else "the key does not belong to the certificate"
                known = self._keys[pair] = stamps, text
            return known[1]
        except (OSError, ValueError) as error:
            return f"{pair.key}: {error.strerror if isinstance(error, OSError) else error}"

    def default(self, hostname: str) -> Certificate:
        """The one for clients that ask for nobody, or for whom there is none: of a folder the server's own, else the
        first by name.  Raises ConfigError for an empty folder."""
        if self.folder is None:
            return self._certificate(self._single)
        pair = self._pair(hostname) or next(iter(self._entries), None)
        if pair is None:
            text = self.trouble or "no pair of certificate and key is there"
            raise ConfigError(text, file=str(self.folder), key=f"tls.{self.name}.directory")
        return self._certificate(pair)

    def find(self, host: str, strong: bool) -> ServerTls | None:
        """What to show to who asks for a host; None when nothing is good for it, or cannot be used."""
        pair = self._pair(host)
        if pair is None or self._broken.get(pair, 0.0) > self._monotonic():
            return None
        try:
            return self._certificate(pair).context(strong)
        except ConfigError as error:
            log.error("no certificate for {host}: {reason}", host=host, reason=str(error))
            self._broken[pair] = self._monotonic() + _BROKEN
            return None

    def refresh(self) -> None:
        """Files were replaced: look at them at the next connection."""
        for one in self._open.values():
            one.refresh()
        self._broken.clear()

    def look(self, list_again: bool = True) -> None:
        """Read what is there, as far as it has changed.  Blocks; may run in any thread, one at a time."""
        entries: dict[Pair, Entry] = {}
        stamps: dict[Pair, tuple[int, int, int]] = {}
        for pair in self._list() if list_again else list(self._entries):
            try:
                stamps[pair] = _stamp(pair.certificate)
                known = self._entries.get(pair)
                if known is None or known.facts is None or stamps[pair] != self._stamps.get(pair):
                    known = Entry(pair, read_facts(pair.certificate))
                entries[pair] = known
            except OSError as error:
                entries[pair] = Entry(pair, None, f"{error.filename}: {error.strerror}")
            except ValueError as error:
                entries[pair] = Entry(pair, None, f"{pair.certificate}: {error}")
        self._adopt(entries, stamps)

    # ------------------------------------------------------------ inside

    def _list(self) -> list[Pair]:
        if self.folder is None:
            return [self._single]
        try:
            found = pairs_in(self.folder)
        except OSError as error:
            # What was there before goes on being shown.
            self.trouble = f"cannot be read: {error.strerror}"
            return list(self._entries)
        self.trouble = ""
        return found

    def _adopt(self, entries: dict[Pair, Entry], stamps: dict[Pair, tuple[int, int]]) -> None:
        """Each name gets the pair that is good for longest; what was not read yet goes by its name in the folder."""
        hosts: dict[str, Pair] = {}
        until: dict[str, float] = {}
        for pair, entry in entries.items():
            names: Iterable[str] = [pair.name] if entry.facts is None and self.folder is not None else ()
            ends = 0.0
            if entry.facts is not None:
                names, ends = entry.facts.names, entry.facts.ends.timestamp()
            for name in names:
                if ends >= until.get(name, -1.0):
                    hosts[name], until[name] = pair, ends
        # One assignment each: another thread may be looking for a name.
        self._by_host, self._entries, self._stamps = hosts, entries, stamps
        self._keys = {pair: known for pair, known in list(self._keys.items()) if pair in entries}

    def _pair(self, host: str) -> Pair | None:
        own, wildcard = patterns_for(host)
        by_host = self._by_host
        return by_host.get(own) or by_host.get(wildcard)

    def _certificate(self, pair: Pair) -> Certificate:
        found = self._open.get(pair)
        if found is None:
            found = self._open[pair] = self._made(pair)
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(pair)
        return found

    def _made(self, pair: Pair) -> Certificate:
        client_ca = self._base / self.table.client_ca if self.table.client_ca else None
        return Certificate(pair.certificate, pair.key, self._monotonic, client_ca, self.name)


class Certificates:
    """Every [tls.NAME] of a site's options; shelves whose table is the same are taken over from `before`.

    `finish`: complete what a crash in the middle of an installation left.
    """

    def __init__(
        self, options: SiteOptions, base: Path, monotonic: Callable[[], float], before: Certificates | None = None,
        *, finish: bool = True,
    ) -> None:  # fmt: skip
        named = {name for server in options.servers.values() for name in server.certificates}
        self._options = options
        self.shelves: dict[str, Shelf] = {}
        for name, table in options.certificates.items():
            known = before.shelves.get(name) if before is not None else None
            if known is not None and known.table == table:
                self.shelves[name] = known
                continue
            shelf = self.shelves[name] = Shelf(name, table, base, monotonic)
            if shelf.folder is None and finish:
                _finish(base / table.certificate, base / table.key)
        for name in named:
            if self.shelves[name].folder is None:
                # Their names must be known before the first client asks for one; a folder's are those of its files.
                self.shelves[name].look()

    def context_of(self, server: ServerOptions) -> Callable[[], Any] | None:
        """What gives a server's TLS, again for each connection; that raises ConfigError.  None: it has none."""
        if server.certificate not in self.shelves:
            return None
        shelf, strong = self.shelves[server.certificate], server.require_strong_tls
        others = [self.shelves[name] for name in server.certificates if name != server.certificate]
        if shelf.folder is None and not others:
            return lambda: shelf.default(server.hostname).context(strong)
        choose = partial(_choose, [shelf, *others], strong)
        return lambda: Named(shelf.default(server.hostname).context(strong), choose)

    def check(self, before: Certificates) -> None:
        """Make what servers show that they did not show before.  Raises ConfigError."""
        for name, server in self._options.servers.items():
            old = before._options.servers.get(name)
            shown = None if old is None else before.shelves.get(old.certificate)
            context = self.context_of(server)
            if context is not None and shown is not self.shelves[server.certificate]:
                context()

    def refresh(self, name: str) -> None:
        """The files of a table were replaced."""
        if name in self.shelves:
            self.shelves[name].look()
            self.shelves[name].refresh()

    def look(self) -> None:
        """Look at all files.  Blocks."""
        for shelf in list(self.shelves.values()):
            shelf.look()


def _choose(shelves: list[Shelf], strong: bool, host: str) -> ServerTls | None:
    for shelf in shelves:
        found = shelf.find(host, strong)
        if found is not None:
            return found
    return None


def _stamp(path: Path) -> tuple[int, int, int]:
    """What is another one when a file is.  Raises OSError."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _finish(certificate: Path, key: Path) -> None:
    """After a crash in the middle of an installation."""
    try:
        finish_replacing(certificate, key)
    except OSError as error:
        log.error("{file}: {reason}", file=str(error.filename or key), reason=str(error.strerror))


def certificates_of(site: Any, before: Certificates | None = None) -> Certificates:
    """Those of the site's options now.  A site of its own makes its own pair, so that TLS always works.

    With those of `before` it raises ConfigError when a server is to show something else that cannot be used.
    """
    base, options = site.base, site.options
    default = options.certificates.get("default")
    if default is not None and options.makes_certificate:
        names = [options.site.hostname, *options.domains]
        try:
            # Made here, it is for nobody else to read; as the parent of the certificate it would be.
            options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            if ensure(base / default.certificate, base / default.key, names):
                log.warn("made a self-signed certificate, {file}", file=str(base / default.certificate))
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            log.error("cannot make a certificate: {reason}", reason=reason)
    made = Certificates(options, base, site.monotonic, before)
    if before is not None:
        made.check(before)
    return made
