"""How lines of a conversation are shown (floor 5)."""

from __future__ import annotations

from collections.abc import Callable

#: What stands for a secret.
BLANK = "***"
#: Octets of a line that are shown.
LINE = 1000

#: `tell("client" or "server", text)`.
Tell = Callable[[str, str], None]


def clean(octets: bytes, left_out: int = 0) -> str:
    """Printable text of at most `LINE` octets; `left_out` more were not kept."""
    text = octets[:LINE].decode("utf-8", "backslashreplace")
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    left_out += max(len(octets) - LINE, 0)
    return f"{shown} ... ({left_out} octets more)" if left_out else shown


def counted(octets: int) -> str:
    """What stands for octets of a message."""
    return f"({octets} octets of a message)"
