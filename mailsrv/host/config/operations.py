"""[trace] and [log] (floor 6): what is kept of the ways that messages took, and what lines of the log look like."""

from __future__ import annotations

from attrs import frozen

from ...parts import DURATION, SIZE, choice, option, or_off


@frozen
class TraceTable:
    """[trace]: the steps of every message, for `mailsrv trace`; in trace.db of the data folder."""

    keep: float | None = option(or_off(DURATION), 14 * 86400.0, "how long the steps of a message are kept; off: none")
    size: int = option(SIZE, 2**30, "octets that they may take; the oldest go first")


@frozen
class LogTable:
    """[log]"""

    format: str = option(choice("text", "json"), "text", "json: an object in each line, for programs that collect logs")
