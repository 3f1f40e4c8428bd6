"""Versions of the configuration file (floor 6): kept in the data folder, so that a change can be taken back (S-179).

Each is one file, NUMBER.json: its text, when it came, who made it and by what.  A change that waits to be confirmed
has what was before it in pending.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from ...errors import ConfigError
from .edit import write_atomically

#: Versions that are kept; the oldest go first.
MAX_KEPT = 100
#: Keys of a change that a version tells.
MAX_KEYS = 50


def digest_of(text: str) -> str:
    """What names a text: who has read that one may change it, who has read another may not."""
    return sha256(text.encode("utf-8")).hexdigest()[:16]


@frozen
class Version:
    """One text of the file.  `at` is UTC epoch seconds, `what` the change in words, `keys` what it changed."""

    number: int
    digest: str
    at: float
    who: str
    what: str
    keys: tuple[str, ...] = ()
    text: str = ""


@frozen
class Pending:
    """A change that is taken back at `until` (UTC epoch seconds) unless somebody confirms it."""

    text: str
    until: float
    who: str


class Versions:
    """Those of one site; `folder` is made when it is needed.  No caller runs beside another."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self._folder, self._now = folder, now

    def numbers(self) -> list[int]:
        """Of all that are kept, the oldest first."""
        return sorted(int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdigit())

    def get(self, number: int) -> Version | None:
        """One of them; None: there is none of that number, or it cannot be read."""
        found = self._read(self._path(number))
        try:
            return Version(**{**found, "keys": tuple(found["keys"])}) if found is not None else None
        except (TypeError, KeyError):
            return None

    def all(self) -> list[Version]:
        """All that can be read, the newest first."""
        return [one for number in reversed(self.numbers()) if (one := self.get(number)) is not None]

    def last(self) -> Version | None:
        """The newest that can be read."""
        return next((one for number in reversed(self.numbers()) if (one := self.get(number)) is not None), None)

    def keep(self, text: str, who: str, what: str, keys: tuple[str, ...] = ()) -> Version:
        """Keep a text, unless it is that of the newest version, which is given then.  Raises ConfigError."""
        last, digest = self.last(), digest_of(text)
        if last is not None and last.digest == digest:
            return last
        numbers = self.numbers()
        made = Version((numbers[-1] if numbers else 0) + 1, digest, self._now(), who, what, keys[:MAX_KEYS], text)
        self._write(self._path(made.number), asdict(made))
        for number in numbers[: max(0, len(numbers) + 1 - MAX_KEPT)]:
            self._path(number).unlink(missing_ok=True)
        return made

    def drop(self, number: int) -> None:
        """That text became none of the file's after all."""
        self._path(number).unlink(missing_ok=True)

    def pending(self) -> Pending | None:
        """What waits to be confirmed."""
        found = self._read(self._folder / "pending.json")
        try:
            return Pending(**found) if found is not None else None
        except TypeError:
            return None

    def await_confirmation(self, pending: Pending) -> None:
        """Write down what there was before a change.  Raises ConfigError."""
        self._write(self._folder / "pending.json", asdict(pending))

    def confirmed(self) -> None:
        """Nothing waits any more."""
        (self._folder / "pending.json").unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.json"

    def _write(self, path: Path, facts: dict[str, Any]) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot be made: {error.strerror}", file=str(self._folder)) from error
        write_atomically(path, json.dumps(facts).encode("utf-8"), 0o600)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None
