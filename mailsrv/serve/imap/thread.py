"""THREAD (floor 3; RFC 5256): what was found, as conversations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ...message.sorting import let_go
from ...message.subject import base_subject
from ...message.threading import Message, Node, dissolve, message_ids, ordered_subject, references, written
from ...wire import imap_requests as r
from .search import find
from .sort import Row, rows, worked_out

if TYPE_CHECKING:
    from .session import ImapSession

_LINKS = (b"message-id", b"references", b"in-reply-to")
#: Threads said in one piece.
PIECE = 1000
_WANTED = frozenset({"head", "summary", "dates"})
_ALGORITHMS: dict[str, Callable[[Sequence[Message]], list[Node]]] = {
    "ORDEREDSUBJECT": ordered_subject,
    "REFERENCES": references,
}


#: The fields of a `Message`.  The collector soon leaves tuples of such things alone; hundreds of thousands of objects
#: it looks through again and again, and everybody waits.
_Told = tuple[str, bool, int, bytes, tuple[bytes, ...]]


def _told(row: Row, linked: bool) -> _Told:
    """What a thread is made of; `linked`: also what replies to what."""
    subject, reply = base_subject(row.text(0))
    if not linked:
        return subject, reply, row.sent(), b"", ()
    found = {name: tuple(message_ids(value)) for name, value in row.first(_LINKS).items()}
    ident = next(iter(found.get(b"message-id", ())), b"")
    return subject, reply, row.sent(), ident, found.get(b"references") or found.get(b"in-reply-to", ())[:1]


async def thread(session: ImapSession, request: r.Thread) -> bytes:
    """THREAD and UID THREAD."""
    found = await find(session, request)
    selection = session.selection
    assert selection is not None
    linked = request.algorithm == "REFERENCES"
    places: list[int] = []
    told: list[_Told] = []

    def take(place: int, row: Row) -> None:
        places.append(place)
        told.append(_told(row, linked))

    await rows(session, selection, found, _WANTED, take)
    if request.name.startswith("UID "):
        uids = selection.view.uids(range(selection.view.length))
        names = [uids[place] for place in places]
    else:
        names = [place + 1 for place in places]
    work = partial(_answer, _ALGORITHMS[request.algorithm], told, names)
    pieces = await worked_out(session, len(told), work)
    session.put(b"* THREAD " if pieces else b"* THREAD")
    session.streaming = True
    for piece in pieces:
        session.put(piece)
        await session.pace()
        await session.connection.breathe()
    session.put(b"\r\n")
    session.streaming = False
    return b"OK THREAD completed"


def _answer(
    algorithm: Callable[[Sequence[Message]], list[Node]], told: list[_Told], names: Sequence[int]
) -> list[bytes]:
    """The threads as they are said, in pieces; takes what is `told`, and nothing made of it is left."""
    messages = [Message(*one) for one in told]
    let_go(told)
    roots = algorithm(messages)
    said = ["".join(written(roots[at : at + PIECE], names)).encode("ascii") for at in range(0, len(roots), PIECE)]
    dissolve(roots)
    let_go(messages)
    return said
