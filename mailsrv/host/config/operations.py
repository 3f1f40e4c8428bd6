"""[trace] and [log] (floor 6): what is kept of the ways that messages took, and what lines of the log look like."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from ...parts import DURATION, SIZE, TEXT, Kind, choice, option, or_off

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}(:[A-Za-z_][A-Za-z0-9_.-]{0,31})?")


def _read_user(value: Any) -> str:
    """USER or USER:GROUP."""
    text: str = TEXT.read(value)
    if text and not _USER.fullmatch(text):
        raise ValueError(f'{text!r} is not "USER" or "USER:GROUP"')
    return text


RUN_AS = Kind("USER[:GROUP]", _read_user)


@frozen
class TraceTable:
    """[trace]: the steps of every message, for `mailsrv trace`; in trace.db of the data folder."""

    keep: float | None = option(or_off(DURATION), 14 * 86400.0, "how long the steps of a message are kept; off: none")
    size: int = option(SIZE, 2**30, "octets that they may take; the oldest go first")


@frozen
class LogTable:
    """[log]"""

    format: str = option(choice("text", "json"), "text", "json: an object in each line, for programs that collect logs")
