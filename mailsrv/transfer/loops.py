"""Messages that come back (floor 4): one that was delivered to a recipient already is not delivered to it again.

Hops alone (S-080) stop a loop after dozens of copies; Delivered-To stops the usual one, a forward that leads back, at
its first return.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..message.header import values
from ..values import Address, Recipient
from ..wire.smtp_syntax import read_path

_FIELD = b"\ndelivered-to"


def comes_back(head: bytes, recipients: Iterable[Recipient]) -> Address | None:
    """The recipient that a message with this header was delivered to before, or None."""
    lower = head.lower()
    if _FIELD not in lower and not lower.startswith(_FIELD[1:]):
        return None
    seen = set()
    for value in values(head, b"delivered-to"):
        path = read_path(f"<{value.decode('utf-8', 'replace')}>")
        if path is not None and path[0] is not None:
            seen.add(_fold(path[0]))
    return next((one.address for one in recipients if _fold(one.address) in seen), None)


def same(one: Address, other: Address) -> bool:
    """Whether two addresses are one, for who would not be surprised by a local part without case."""
    return one == other or _fold(one) == _fold(other)


def _fold(address: Address) -> tuple[str, str]:
    return address.local.casefold(), address.domain
