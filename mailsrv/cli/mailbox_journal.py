"""What an import or export has done so far: a file of JSON lines, so that the next run goes on (floor 7).

Before a batch goes to the store the journal says, synced, what is in it; whether the batch arrived before the process
died is seen in the mailbox, for a batch is there whole or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import InUse, Refused

VERSION = 1
#: Octets of a line.
MAX_LINE = 4 * 2**20


class Journal:
    """The lines of a file, which is locked while it is open.

    `header` says of what it is; a file with another header is refused.  `lines` are those that were there.  Raises
    Refused, InUse, OSError.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise InUse(f"another run works with {path}") from error
        try:
            self.lines = self._read()
            wanted = {"version": VERSION, **header}
            if not self.lines:
                self.write(wanted, sync=True)
            elif self.lines.pop(0) != wanted:
                text = f"{path} is of another run (other account, mailbox or format); --journal names another file"
                raise Refused(text)
        except (Refused, OSError):
            self._file.close()
            raise

    def _read(self) -> list[dict[str, Any]]:
        """All whole lines; a torn one at the end goes."""
        found, good = list[dict[str, Any]](), 0
        with open(self.path, "rb") as file:
            while line := file.readline(MAX_LINE):
                try:
                    value = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    value = None
                if not isinstance(value, dict):
                    break
                found.append(value)
                good += len(line)
        if good < os.fstat(self._file.fileno()).st_size:
            if not found:
                raise Refused(f"{self.path} is no journal of mailsrv; --journal names another file")
            os.ftruncate(self._file.fileno(), good)
        return found

    def write(self, line: Mapping[str, Any], sync: bool = False) -> None:
        """One more line, on the disk when it returns if `sync`."""
        octets = memoryview(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n")
        while octets:
            octets = octets[self._file.write(octets) or 0 :]
        if sync:
            os.fsync(self._file.fileno())

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._file.close()
