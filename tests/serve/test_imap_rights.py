"""Rights on mailboxes (RFC 4314): what grants mean, and that nothing gets past them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.errors import AccessDenied
from mailsrv.message.content import MemoryContent
from mailsrv.numbers import UidSet
from mailsrv.serve.imap import rights
from mailsrv.serve.imap.restricted import Restricted
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, DomainFacts, FlagChange, NewMessage

GRANTS = st.dictionaries(
    st.sampled_from(["anyone", "#1", "#2", "-anyone", "-#1", "-#2"]), st.text("lrswipkxtea", max_size=11)
)
FLAGS = st.frozensets(st.sampled_from([b"\\Seen", b"\\SEEN", b"\\Deleted", b"\\Flagged", b"\\Draft", b"$Junk", b"New"]))
NONE: frozenset[bytes] = frozenset()


@given(GRANTS)
def test_rfc4314_section_2_negative_rights_win_and_those_of_others_say_nothing(grants: dict[str, str]) -> None:
    given = set(grants.get("anyone", "") + grants.get("#1", ""))
    taken = set(grants.get("-anyone", "") + grants.get("-#1", ""))
    assert set(rights.effective(grants, 1)) == given - taken
    assert list(rights.effective(grants, 1)) == sorted(given - taken, key=rights.ALL.index)


def test_rfc4314_section_2_1_1_obsolete_rights() -> None:
    assert rights.asked("lrc") == set("lrkx") and rights.asked("d") == set("te")
    assert rights.asked("z") is None and rights.asked("") == set()
    assert rights.shown("lr") == "lr" and rights.shown("lrx") == "lrxc" and rights.shown("e") == "ed"


class Box:
    """A mailbox with two messages, as its owner and as somebody with `rights` has it."""

    def __init__(self, given: str) -> None:
        self.loop = Loop()
        store = MemoryStore(lambda: 0.0, [DomainFacts("example.org")])
        account_id = self.loop.run(store.directory.add_account(Address("me", "example.org"), "")).account_id
        self.owners = self.loop.run(self.loop.run(store.account(account_id)).open("INBOX"))
        self.trash = self.loop.run(self.loop.run(store.account(account_id)).status("Trash")).mailbox_id
        flags = (frozenset([b"\\Seen", b"\\Flagged", b"$Junk"]), frozenset([b"\\Deleted"]))
        self.loop.run(self.owners.append([NewMessage(MemoryContent(b"x"), one) for one in flags]))
        self.theirs = Restricted(self.owners, given)

    def flags(self) -> list[frozenset[bytes]]:
        columns = self.owners.columns()
        names = [b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Seen", b"\\Draft", *columns.keywords]
        return [frozenset(name for bit, name in enumerate(names) if mask >> bit & 1) for mask in columns.flags]


ALL = UidSet([(1, 9)])


def low(flags: frozenset[bytes]) -> set[bytes]:
    return {flag.lower() for flag in flags}


@given(st.text("lrswipkxtea", max_size=11), st.sampled_from(["add", "remove", "replace"]), FLAGS)
def test_rfc4314_section_4_a_flag_changes_with_its_right_and_never_without(
    given: str, action: str, flags: frozenset[bytes]
) -> None:
    box = Box(given)
    before = box.flags()
    try:
        updated = box.loop.run(box.theirs.update(ALL, FlagChange(action, flags)))
    except AccessDenied:
        assert box.flags() == before
        assert not rights.permitted(flags, given)
        return
    for old, new in zip(before, box.flags()):
        for flag in (b"\\Seen", b"\\Deleted", b"\\Flagged", b"\\Draft", b"$Junk", b"New"):
            named = flag.lower() in low(flags)
            wanted = named if action == "replace" else (action == "add" if named else flag in old)
            allowed = rights.may_set(flag, given)
            assert (flag in new) == (wanted if allowed else flag in old)
    assert list(updated.uids) == [1, 2] and list(updated.flags) == box.owners.columns().flags


def test_rfc4314_section_4_a_replacement_that_keeps_flags_still_finds_conflicts() -> None:
    """RFC 7162 section 3.1.3."""
    box = Box("s")
    since = box.owners.columns().modseq
    box.loop.run(box.owners.update(UidSet.of([1]), FlagChange("add", frozenset([b"New"]))))
    updated = box.loop.run(box.theirs.update(ALL, FlagChange("replace", frozenset([b"\\Seen"])), since))
    assert list(updated.conflicts) == [1] and list(updated.uids) == [1, 2]
    assert box.flags()[1] == {b"\\Deleted", b"\\Seen"} and list(updated.flags) == box.owners.columns().flags


@pytest.mark.parametrize("given", ["", "lr", "lrswipkxta", "lrswpkxtea"])
def test_rfc4314_section_4_expunge_takes_e_append_i_and_move_t_and_e(given: str) -> None:
    box = Box(given)
    for needed, call in (
        ("i", lambda: box.theirs.append([NewMessage(MemoryContent(b"y"))])),
        ("te", lambda: box.theirs.copy(UidSet.of([1]), box.trash, True)),
        ("e", lambda: box.theirs.expunge(UidSet.of([2]))),
    ):
        if set(needed) <= set(given):
            box.loop.run(call())
        else:
            with pytest.raises(AccessDenied):
                box.loop.run(call())
