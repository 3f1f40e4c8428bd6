"""What was found, said to the client and kept (floor 3): SEARCH and SORT responses, ESEARCH (RFC 4731, RFC 5267,
RFC 9394), the saved result (RFC 5182)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...numbers import UidSet
from ...wire import imap_print as p
from ...wire import imap_requests as r
from .answer import No
from .modes import REV2
from .view import View

if TYPE_CHECKING:
    from .session import ImapSession

#: Numbers said in one piece.
PIECE = 5000
#: Intervals of UIDs kept of one search.
MAX_SAVED = 100_000


async def answer(
    session: ImapSession, request: r.Search, places: Sequence[int], name: bytes, with_modseq: bool
) -> None:
    """Say and keep the messages at these `places` (indexes of the view), in the order given.

    Raises No when they are too many intervals to keep.
    """
    selection = session.selection
    assert selection is not None
    view, returns = selection.view, request.returns
    if returns is None and REV2 in session.enabled:
        # RFC 9051 section 6.4.4: there is no SEARCH response any more.
        returns = frozenset({"ALL"})
    modseq = 0
    if with_modseq and places:
        modseq = await _highest(session, view, places if returns is None else _named(returns, places, request.partial))
    if returns is not None and "SAVE" in returns:
        _save(view, _named(returns, places, request.partial))
    if returns == {"SAVE"}:
        return
    numbers = await _numbers(session, view, places, request.name.startswith("UID "))
    # The line is under way: nothing else can be said before its end.
    session.streaming = True
    if returns is None:
        session.put(b"* " + name)
        for at in range(0, len(numbers), PIECE):
            session.put(f" {' '.join(map(str, numbers[at : at + PIECE]))}".encode("ascii"))
            await _turn(session)
        # RFC 7162 section 3.1.6: the highest of all that were found, nothing when nothing was.
        session.put(b" (MODSEQ %d)\r\n" % modseq if modseq else b"\r\n")
    else:
        await _extended(session, request, returns, numbers)
        session.put(b" MODSEQ %d\r\n" % modseq if modseq else b"\r\n")
    session.streaming = False


async def _extended(session: ImapSession, request: r.Search, returns: frozenset[str], numbers: Sequence[int]) -> None:
    """ESEARCH without the end of its line; what there is no value of is left out."""
    session.put(b"* ESEARCH (TAG %b)%b" % (p.string(request.tag), b" UID" if request.name[:4] == "UID " else b""))
    if numbers and "MIN" in returns:
        session.put(b" MIN %d" % numbers[0])
    if numbers and "MAX" in returns:
        session.put(b" MAX %d" % numbers[-1])
    if "COUNT" in returns:
        session.put(b" COUNT %d" % len(numbers))
    if request.partial is not None:
        session.put(b" PARTIAL (%d:%d " % request.partial)
        some = part(numbers, request.partial)
        if some:
            await _say_set(session, some)
        session.put(b")" if some else b"NIL)")
    if numbers and "ALL" in returns:
        session.put(b" ALL ")
        await _say_set(session, numbers)


async def _say_set(session: ImapSession, numbers: Sequence[int]) -> None:
    """Numbers as a sequence set in this very order, of neighbours an interval."""
    low = high = numbers[0]
    comma = ""
    for at in range(0, len(numbers), PIECE):
        out: list[str] = []
        for number in numbers[at : at + PIECE]:
            if number == high + 1:
                high = number
            elif number != high:
                out.append(f"{low}:{high}" if low != high else str(low))
                low = high = number
        if out:
            session.put((comma + ",".join(out)).encode("ascii"))
            comma = ","
        await _turn(session)
    session.put(f"{comma}{low}:{high}".encode("ascii") if low != high else f"{comma}{low}".encode("ascii"))


async def _turn(session: ImapSession) -> None:
    await session.pace()
    await session.connection.breathe()


def _cut(count: int, places: tuple[int, int]) -> tuple[int, int]:
    """The places of PARTIAL (RFC 9394 section 3.1), from 1 or from -1 as the last, as a slice of so many."""
    first, last = places
    return (first - 1, last) if first > 0 else (max(count + last, 0), max(count + first + 1, 0))


def part(found: Sequence[int], places: tuple[int, int]) -> Sequence[int]:
    """Those at the places of PARTIAL."""
    start, stop = _cut(len(found), places)
    return found[start:stop]


def part_of_ranges(ranges: Iterable[range], places: tuple[int, int]) -> list[range]:
    """Of ascending ranges those at the places of PARTIAL."""
    ranges = list(ranges)
    start, stop = _cut(sum(map(len, ranges)), places)
    found = []
    for some in ranges:
        inside = some[max(start, 0) : max(stop, 0)]
        if inside:
            found.append(inside)
        start, stop = start - len(some), stop - len(some)
    return found


async def _numbers(session: ImapSession, view: View, places: Sequence[int], by_uid: bool) -> Sequence[int]:
    names: Sequence[int] = view.uids(range(view.length)) if by_uid else range(1, view.length + 1)
    numbers: list[int] = []
    for at in range(0, len(places), PIECE):
        numbers += [names[place] for place in places[at : at + PIECE]]
        await session.connection.breathe()
    return numbers


def _named(returns: frozenset[str], places: Sequence[int], partial: tuple[int, int] | None) -> Sequence[int]:
    """What an answer with these options speaks of (RFC 5182 section 2.4, RFC 9394 section 3.1)."""
    if not places or returns & {"ALL", "COUNT"} or returns == {"SAVE"}:
        return places
    found = list(part(places, partial)) if partial is not None else []
    if "MIN" in returns:
        found.append(places[0])
    if "MAX" in returns:
        found.append(places[-1])
    return found


async def _highest(session: ImapSession, view: View, places: Sequence[int]) -> int:
    """The highest MODSEQ of these messages."""
    highest = 0
    for at in range(0, len(places), PIECE):
        for few in ranges_of(sorted(places[at : at + PIECE])):
            highest = max(highest, *view.modseqs(few))
        await session.connection.breathe()
    return highest


def ranges_of(places: Iterable[int]) -> list[range]:
    """Ascending indexes as ranges of neighbours."""
    found: list[range] = []
    start = stop = -1
    for place in places:
        if place == stop:
            stop += 1
        elif place > stop or start < 0:
            if start >= 0:
                found.append(range(start, stop))
            start, stop = place, place + 1
    if start >= 0:
        found.append(range(start, stop))
    return found


def _save(view: View, places: Sequence[int]) -> None:
    """Keep the messages as UIDs, so that those that vanish meanwhile name nothing."""
    ranges = ranges_of(sorted(places))
    if len(ranges) > MAX_SAVED:
        raise No("NOTSAVED", "Too many intervals to be kept")
    view.saved = view.uid_set(ranges)


def forget(session: ImapSession, request: r.Search) -> None:
    """A search with SAVE was refused with NO: nothing is kept any more (RFC 5182 section 2.1)."""
    if request.returns is not None and "SAVE" in request.returns and session.selection is not None:
        session.selection.view.saved = UidSet()
