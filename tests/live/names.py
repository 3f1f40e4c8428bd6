"""A name server on a loopback address, and a site that asks it: the site sees a resolv.conf of its own."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from random import randrange
from typing import Any

from twisted.names import dns

from mailsrv.testing.dns import answer

from .apart import unable
from .conftest import Server

#: So long a refusal or a record holds, in seconds: longer than any test.
TTL = 600
SERVFAIL, NXDOMAIN = 2, 3


class NameServer(threading.Thread):
    """Answers from `table`, "NAME KIND" -> records, on port 53 of `address`; `asked` are the questions in order.

    Instead of records SERVFAIL: the server is broken there.  Needs the rights of root.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        super().__init__(daemon=True)
        self.table = dict(table)
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Anybody may run these tests at the same time.
        self.address = f"127.{randrange(64, 128)}.{randrange(256)}.{randrange(1, 255)}"
        self._socket.bind((self.address, 53))

    def host(self, address: str, *names: str, confirmed: bool = True) -> None:
        """An address with these names; not `confirmed`: they do not lead back."""
        self.table[f"{ip_address(address).reverse_pointer} PTR"] = names
        for name in names if confirmed else ():
            self.table[f"{name.lower()} A"] = (address,)

    def run(self) -> None:
        """Until the socket is closed."""
        while True:
            try:
                octets, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if not octets:
                return
            message = dns.Message()
            message.fromStr(octets)
            self._socket.sendto(self._answer(message), client)

    def _answer(self, message: dns.Message) -> bytes:
        query = message.queries[0]
        name, kind = query.name.name.decode().lower(), dns.QUERY_TYPES[query.type]
        question = f"{name} {kind}"
        self.asked.append(question)
        records = self.table.get(question)
        if records == SERVFAIL:
            return answer(message, code=SERVFAIL)
        if records is None:
            known = any(other.startswith(f"{name} ") for other in self.table)
            return answer(message, code=0 if known else NXDOMAIN, soa=("test", TTL))
        return answer(message, *((name, self._record(kind, text), TTL) for text in records))

    def _record(self, kind: str, text: str) -> Any:
        return {"PTR": dns.Record_PTR, "A": dns.Record_A, "AAAA": dns.Record_AAAA}[kind](text)

    def close(self) -> None:
        """End it."""
        # Closing a socket wakes nobody who reads from it; a datagram does.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (self.address, 53))
        self.join(10)
        self._socket.close()


@contextmanager
def named(table: Mapping[str, Any] | None = None) -> Iterator[NameServer]:
    """A running name server."""
    if os.geteuid():
        unable("port 53 needs the rights of root")
    made = NameServer(table or {})
    made.start()
    try:
        yield made
    finally:
        made.close()


class AskingServer(Server):
    """A site whose machine has that name server, and no other."""

    def __init__(self, folder: Path, config: str, names: NameServer) -> None:
        super().__init__(folder, config)
        resolv = folder / "resolv.conf"
        resolv.write_text(f"nameserver {names.address}\n")
        unshare = shutil.which("unshare")
        if unshare is None:
            unable("unshare is not here")
        # Its own mounts: nobody else sees that file in the place of the machine's.
        script = f'mount --bind "{resolv}" /etc/resolv.conf && exec "$@"'
        self.program = [str(unshare), "-m", "sh", "-c", script, "sh", *self.program]
