"""Which rows of the queue the database need not give out, as an administrator does not want them (`values.Wanted`).

Only what SQL can tell as Python does: it looks at 100,000 rows in the time in which Python makes 5,000 of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import apsw

from ...values import Wanted
from ..queue_index import QueueIndex, leased
from . import records


def conditions(wanted: Wanted, index: QueueIndex) -> Iterator[tuple[str, Any]]:
    """SQL conditions with one value each; rows that fit `wanted` fulfil all of them."""
    if wanted.server:
        yield "server=?", wanted.server
    if wanted.destination:
        yield "destination=?", wanted.destination
    if wanted.before is not None:
        yield "received<=?", wanted.before
    if wanted.state == "trying":
        yield "id IN (SELECT value FROM carray(?))", apsw.carray(array("q", leased(index) or (0,)))
    elif wanted.state:
        yield "held=?", int(wanted.state == "held")
    if wanted.sender.startswith("@"):
        yield f"substr(sender, -{len(wanted.sender)})=?", wanted.sender
    elif wanted.sender:
        yield "sender=?", "" if wanted.sender == "<>" else wanted.sender
    yield from _texts(wanted)


def _texts(wanted: Wanted) -> Iterator[tuple[str, Any]]:
    """A part of something; letters of other alphabets are beyond SQLite's lower()."""
    if wanted.reply and wanted.reply.isascii():
        yield "instr(lower(reply), ?)", wanted.reply
    local, at, domain = wanted.recipient.rpartition("@")
    if at:
        yield "instr(recipients, ?)", records.to_json(domain)
    if local and local.isascii():
        yield "instr(lower(recipients), ?)", records.to_json(local)
