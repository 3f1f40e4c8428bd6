"""The rules that stores share: names, renaming, flags as masks, queries by columns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.errors import BadMailboxName, MailError, Refused
from mailsrv.numbers import UidSet
from mailsrv.query import And, HasFlag, Not, Or, Uids
from mailsrv.store import keywords as kw
from mailsrv.store.columns_query import evaluate
from mailsrv.store.names import normalise, parents, rename_plan
from mailsrv.values import SYSTEM_FLAGS, Columns
from tests.properties import tries

_LEVEL = st.sampled_from(["a", "b", "A", "inbox", "INBOX", "e\u0301", "\u00e9", "ab"])
_NAME = st.lists(_LEVEL, min_size=1, max_size=4).map("/".join)


@given(st.text(max_size=60) | _NAME)
@settings(max_examples=tries(300), deadline=None)
def test_normalise_is_stable_and_total(name: str) -> None:
    """Any text: a name that stays itself, or BadMailboxName."""
    try:
        once = normalise(name)
    except BadMailboxName:
        return
    assert normalise(once) == once
    assert len(once.encode()) <= 1000 and "" not in once.split("/")
    assert all(normalise(parent) == parent for parent in parents(once))


def test_the_dotless_i_is_not_inbox() -> None:
    """RFC 9051 section 5.1: INBOX is ASCII; Unicode's upper case has more letters that become I."""
    assert normalise("\u0131nbox") == "\u0131nbox"
    assert normalise("inbox/\u0131") == "INBOX/\u0131"


@given(st.sets(_NAME.map(normalise), max_size=10), _NAME.map(normalise), _NAME.map(normalise))
@settings(max_examples=tries(300), deadline=None)
def test_rename_plan_keeps_every_mailbox_apart(names: set[str], old: str, new: str) -> None:
    """Either refused, or as many names as before, and nothing of the old tree left."""
    names.add("INBOX")
    try:
        plan = rename_plan(names, old, new)
    except MailError:
        return
    assert plan[0] == (old, new)
    after = (names - {source for source, _ in plan}) | {target for _, target in plan}
    assert len(after) == len(names)
    if old != "INBOX":
        assert not any(name == old or name.startswith(old + "/") for name in after)


@given(st.lists(st.frozensets(st.sampled_from([b"\\Seen", b"\\SEEN", b"\\Draft", b"k", b"K", b"x", b"Y", b"y"]))))
@settings(max_examples=tries(200), deadline=None)
def test_masks_name_the_flags_again(flag_sets: list[frozenset[bytes]]) -> None:
    """Every mask stays readable while keywords are added behind."""
    keywords: list[bytes] = []
    masks = []
    for flags in flag_sets:
        mask, new = kw.assign(flags, keywords)
        assert kw.known(flags, keywords) == mask & ((1 << 5 + len(keywords)) - 1)
        keywords += new
        masks.append(mask)
    for flags, mask in zip(flag_sets, masks, strict=True):
        assert {name.lower() for name in kw.names_of(mask, keywords)} == {flag.lower() for flag in flags}
    assert len({keyword.lower() for keyword in keywords}) == len(keywords)


def test_flags_that_cannot_be() -> None:
    """Unknown system flags and endless keywords are Refused, or left out where nothing may fail."""
    for flag in (b"\\Unknown", b"x" * 256, b""):
        with pytest.raises(Refused):
            kw.assign([flag, b"\\Seen"], [])
        assert kw.assign([flag, b"\\Seen"], [], lenient=True) == (8, ())
    assert kw.assign([b"\\recent"], []) == (0, ())


def test_columns_answer_flags_and_uids() -> None:
    """Not None: these nodes are answered."""
    columns = Columns()
    columns.uids, columns.modseqs, columns.keywords = [2, 4, 6], [2, 2, 2], [b"Work"]
    columns.flags = [8, 8 | 32, 0]
    seen, work = HasFlag(SYSTEM_FLAGS[3]), HasFlag(b"WORK")
    for query, uids in (
        (seen, [2, 4]), (And((seen, Not(work))), [2]), (Or(work, Uids(UidSet([(5, 9)]))), [4, 6]),
        (HasFlag(b"other"), []), (Not(HasFlag(b"other")), [2, 4, 6]),
    ):
        assert evaluate(query, columns) == UidSet.of(uids)
