"""How far an import or export is, on one line of a terminal (floor 7)."""

from __future__ import annotations

import time
from typing import TextIO

#: Seconds between two lines.
EVERY = 0.5


class Progress:
    """Counts messages and octets; shown when `stream` is a terminal, or `always`.

    `total` is what there is to do, in messages or octets (`unit`); 0: nobody knows.
    """

    def __init__(self, stream: TextIO, always: bool, total: int = 0, unit: str = "messages") -> None:
        self._stream, self._terminal = stream, stream.isatty()
        self._shown = always or self._terminal
        self.total, self._unit = total, unit
        self.messages = self.octets = self.reached = 0
        self._began = self._last = time.monotonic()

    def add(self, octets: int, reached: int | None = None) -> None:
        """One message more; `reached`: so much of the total."""
        self.messages += 1
        self.octets += octets
        self.reached = self.messages if reached is None else reached
        if self._shown and time.monotonic() - self._last >= EVERY:
            self._show()

    def _show(self) -> None:
        """The line."""
        self._last = time.monotonic()
        passed = max(self._last - self._began, 0.001)
        share = f" ({100 * min(self.reached / self.total, 1):.0f}%)" if self.total else ""
        line = f"{self.messages} messages{share}, {self.octets / 2**20:.1f} MiB, {self.messages / passed:.0f} a second"
        self._stream.write(f"\r{line:<70}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *details: object) -> None:
        if self._shown:
            self._show()
            self._stream.write("\n" if self._terminal else "")
