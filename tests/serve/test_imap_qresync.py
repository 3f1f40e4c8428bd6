"""What a client that comes back is told (RFC 7162 section 3.2.5), where a conversation's text is not enough."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mailsrv.numbers import UidSet
from mailsrv.serve.imap.condstore import changed_since
from mailsrv.serve.imap.qresync import absent, same_up_to
from mailsrv.serve.imap.view import View
from mailsrv.testing.bed import Bed
from mailsrv.values import Columns
from mailsrv.wire.imap_requests import Qresync


class Mailbox:
    """Nothing but columns."""

    def __init__(self, uids: list[int], modseqs: list[int] | None = None) -> None:
        self._columns = Columns()
        self._columns.uids, self._columns.flags = uids, [0] * len(uids)
        self._columns.modseqs = modseqs or [1] * len(uids)

    def columns(self) -> Columns:
        return self._columns


def view(uids: Any, modseqs: list[int] | None = None) -> View:
    return View(Mailbox(sorted(uids), modseqs))  # type: ignore[arg-type]


UIDS = st.sets(st.integers(1, 40), max_size=30)


@given(UIDS, UIDS)
def test_absent_is_what_the_view_does_not_have(there: set[int], asked: set[int]) -> None:
    assert set(absent(view(there), UidSet.of(asked))) == asked - there


def test_absent_of_all_that_can_be_costs_what_the_view_holds() -> None:
    assert absent(view(range(2, 1000)), UidSet([(1, 2**32 - 1)])).ranges == ((1, 1), (1000, 2**32 - 1))


@given(st.lists(st.integers(1, 60), min_size=1, unique=True), st.data())
def test_rfc7162_section_3_2_5_2_numbers_that_match(uids: list[int], data: st.DataObject) -> None:
    """The client knew all of `uids`; up to the last number that still means the same nothing vanished, and the
    highest such one is found."""
    uids.sort()
    gone = data.draw(st.sets(st.sampled_from(uids)))
    told = sorted(data.draw(st.sets(st.integers(1, len(uids)), min_size=1)))
    left = [uid for uid in uids if uid not in gone]
    asked = Qresync(1, 1, None, (UidSet.of(told), UidSet.of(uids[number - 1] for number in told)))
    matching = [uids[number - 1] for number in told if left[number - 1 : number] == [uids[number - 1]]]
    same = same_up_to(view(left), asked)
    assert same == max(matching, default=0) and not any(uid <= same for uid in gone)


def test_matches_of_any_length_are_looked_at_in_no_time() -> None:
    asked = Qresync(1, 1, None, (UidSet([(1, 2**32 - 1)]), UidSet([(1, 2**32 - 1)])))
    assert same_up_to(view(range(1, 100)), asked) == 99
    assert same_up_to(view([]), asked) == 0


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(0, 9))
def test_changed_since(modseqs: list[int], since: int) -> None:
    seen = view(range(1, len(modseqs) + 1), modseqs)
    found = [at for part in changed_since(seen, [range(len(modseqs))], since) for at in part]
    assert found == [at for at, modseq in enumerate(modseqs) if modseq > since]


def _said(bed: Bed, client: Any, line: bytes) -> list[bytes]:
    client.send(line + b"\r\n")
    bed.settle()
    lines: list[bytes] = client.take().split(b"\r\n")[:-1]
    return lines


def test_rfc7162_section_3_2_5_1_what_was_forgotten_is_told_as_all_that_is_not_there() -> None:
    """1,000 expunges are remembered; a client that comes from before them is told of everything that is missing."""
    bed = Bed()
    for _ in range(3):
        bed.deliver(b"Subject: x\r\n\r\n")
    client = bed.connect("imap")
    for line in (b"l LOGIN me secret", b"e ENABLE QRESYNC", b"s SELECT INBOX"):
        _said(bed, client, line)
    account = bed.loop.run(bed.store.account(bed.accounts["me"]))
    box = bed.loop.run(account.open("INBOX"))
    for uid in range(4, 1010):
        bed.deliver(b"Subject: y\r\n\r\n")
        bed.loop.run(box.expunge(UidSet.of([uid])))
    bed.loop.run(box.expunge(UidSet.of([2])))
    assert bed.loop.run(box.changes(4)).floor
    since = b"(QRESYNC (%d 4" % box.uidvalidity
    told = _said(bed, client, b"a SELECT INBOX " + since + b"))")
    assert b"* VANISHED (EARLIER) 2,4:1009" in told and told[-1].startswith(b"a OK")
    assert b"* VANISHED (EARLIER) 2" in _said(bed, client, b"b SELECT INBOX " + since + b" 1:3))")
    assert b"* VANISHED (EARLIER) 4:1009" in _said(bed, client, b"c SELECT INBOX " + since + b" 1,3:4294967295))")
    assert b"* VANISHED (EARLIER) 2,4" in _said(bed, client, b"d SELECT INBOX " + since + b" 1:4 (1 1)))")
    # Number 1 is UID 1 still, so nothing vanished up to there: it is not looked at.
    assert not any(b"VANISHED" in line for line in _said(bed, client, b"e SELECT INBOX " + since + b" 1 (1 1)))"))
    fetched = _said(bed, client, b"f UID FETCH 1:* (FLAGS) (CHANGEDSINCE 4 VANISHED)")
    assert fetched[0] == b"* VANISHED (EARLIER) 2,4:1009"
