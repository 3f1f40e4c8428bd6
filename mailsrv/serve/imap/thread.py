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


def _message(row: Row, linked: bool) -> Message:
    """What a thread is made of; `linked`: also what replies to what."""
    subject, reply = base_subject(row.text(0))
    message = Message(subject, reply, row.sent())
    if linked:
        found = {name: tuple(message_ids(value)) for name, value in row.first(_LINKS).items()}
        message.message_id = next(iter(found.get(b"message-id", ())), b"")
        message.references = found.get(b"references") or found.get(b"in-reply-to", ())[:1]
    return message


async def thread(session: ImapSession, request: r.Thread) -> bytes:
    """THREAD and UID THREAD."""
    found = await find(session, request)
    selection = session.selection
    assert selection is not None
    linked = request.algorithm == "REFERENCES"
    places: list[int] = []
    messages: list[Message] = []

    def take(place: int, row: Row) -> None:
        places.append(place)
        messages.append(_message(row, linked))

    await rows(session, selection, found, _WANTED, take)
    if request.name.startswith("UID "):
        uids = selection.view.uids(range(selection.view.length))
        names = [uids[place] for place in places]
    else:
        names = [place + 1 for place in places]
    work = partial(_answer, _ALGORITHMS[request.algorithm], messages, names)
    pieces = await worked_out(session, len(messages), work)
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
    algorithm: Callable[[Sequence[Message]], list[Node]], messages: list[Message], names: Sequence[int]
) -> list[bytes]:
    """The threads as they are said, in pieces; takes the messages, and nothing made of them is left."""
    roots = algorithm(messages)
    said = ["".join(written(roots[at : at + PIECE], names)).encode("ascii") for at in range(0, len(roots), PIECE)]
    dissolve(roots)
    let_go(messages)
    return said
