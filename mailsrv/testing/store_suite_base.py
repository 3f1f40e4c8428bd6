"""What all subjects of the store suite share: a fresh store with two domains, and short ways to say things."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ..interfaces import IAccount, IContent, IMailbox
from ..message.content import MemoryContent
from ..numbers import UidSet
from ..store import keywords as kw
from ..store.names import normalise
from ..values import (
    AccountFacts,
    Address,
    DomainFacts,
    Envelope,
    FlagChange,
    NewDelivery,
    NewMessage,
    Placement,
)

#: example.org and example.net are ours; foreign.example is not.
DOMAINS = (DomainFacts("example.org"), DomainFacts("example.net", catch_all="alice@example.org"))
ALL = UidSet([(1, 2**32 - 1)])
#: A date with a zone that is not the machine's: 2026-01-02 03:04:05 +0530.
DATE, ZONE = 1767303245, 330


def address(text: str) -> Address:
    """ "local@domain" as an Address; without a domain example.org is meant."""
    local, at, domain = text.rpartition("@")
    return Address(local, domain) if at else Address(domain, "example.org")


def message(number: int = 0, *flags: bytes, size: int = 0) -> NewMessage:
    """A message unlike that of any other `number`, padded to at least `size` octets."""
    octets = b"From: a@example.org\r\nSubject: message %d\r\n\r\nText of message %d.\r\n" % (number, number)
    if len(octets) < size:
        octets += b"0123456789abcdef" * ((size - len(octets)) // 16) + b"\r\n" * 9
    return NewMessage(MemoryContent(octets), frozenset(flags), DATE + number, ZONE)


def octets_of(content: IContent) -> bytes:
    """All octets of a content."""
    return b"".join(content.chunks())


def add(*flags: bytes) -> FlagChange:
    """+FLAGS."""
    return FlagChange("add", frozenset(flags))


def remove(*flags: bytes) -> FlagChange:
    """-FLAGS."""
    return FlagChange("remove", frozenset(flags))


def replace(*flags: bytes) -> FlagChange:
    """FLAGS."""
    return FlagChange("replace", frozenset(flags))


class StoreCase:
    """Base of all subjects.  A subclass provides `make`; every test has its own store with `DOMAINS`."""

    store: Any
    loop: Any

    def make(self, tmp_path: Path) -> tuple[Any, Any]:
        """A new empty store (IMessageStore with an IAccountAdmin directory), and its `testing.loop.Loop`."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _fresh_store(self, tmp_path: Path) -> Iterator[None]:
        self.store, self.loop = self.make(tmp_path)
        self.run(self.store.directory.set_domains(DOMAINS))
        yield
        self.run(self.store.close())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The coroutine's result."""
        return self.loop.run(coroutine)

    def new_account(self, text: str = "alice", password_hash: str = "") -> AccountFacts:
        """Add an account."""
        facts: AccountFacts = self.run(self.store.directory.add_account(address(text), password_hash))
        return facts

    def account(self, text: str = "alice") -> IAccount:
        """The mailboxes of a new account."""
        account: IAccount = self.run(self.store.account(self.new_account(text).account_id))
        return account

    def mailbox(self, text: str = "alice", name: str = "INBOX") -> IMailbox:
        """An open mailbox of a new account."""
        return self.open(self.account(text), name)

    def open(self, account: Any, name: str) -> IMailbox:
        """A handle; the mailbox is created when it is not there."""
        if normalise(name) not in self.names(account):
            self.run(account.create(name))
        box: IMailbox = self.run(account.open(name))
        return box

    def names(self, account: Any) -> list[str]:
        """The names of the mailboxes that exist."""
        return [info.name for info in self.run(account.mailboxes()) if info.exists]

    def fill(self, box: Any, count: int, *flags: bytes) -> tuple[int, ...]:
        """Append `count` different messages; their UIDs."""
        uids: tuple[int, ...] = self.run(box.append([message(number, *flags) for number in range(count)])).uids
        return uids

    def deliver(self, new: NewMessage, placements: Sequence[Placement], delivery_id: str = "d1") -> None:
        """One delivery of that content."""
        self.run(self.store.deliver(self.delivery(new, placements, delivery_id)))

    def delivery(self, new: NewMessage, placements: Sequence[Placement], delivery_id: str = "d1") -> NewDelivery:
        """A delivery from outside, received at `DATE`."""
        envelope = Envelope(Address("sender", "foreign.example"))
        return NewDelivery(delivery_id, envelope, new.content, tuple(placements), DATE + 0.75, ZONE, "smtp/default")

    def rows(self, box: Any) -> dict[int, frozenset[bytes]]:
        """UID -> flags in lower case, counted from `changes(0)`; the live columns must say the same."""
        changes = self.run(box.changes(0))
        columns = box.columns()
        assert list(changes.uids) == columns.uids == sorted(set(columns.uids))
        assert list(changes.flags) == columns.flags
        assert list(changes.modseqs) == columns.modseqs
        assert changes.modseq == columns.modseq
        return {uid: self.flag_names(box, mask) for uid, mask in zip(columns.uids, columns.flags, strict=True)}

    def flag_names(self, box: Any, mask: int) -> frozenset[bytes]:
        """The flags of a mask in lower case."""
        return frozenset(name.lower() for name in kw.names_of(mask, box.columns().keywords))

    def octets(self, box: Any) -> dict[int, bytes]:
        """UID -> content."""
        uids = list(box.columns().uids)
        return {uid: octets_of(content) for uid, content in zip(uids, self.run(box.contents(uids)), strict=True)}

    def check_counters(self, box: Any) -> None:
        """The counters of the mailbox are what counting its rows gives."""
        rows, state = self.rows(box), self.run(box.state())
        sizes = [facts.size for facts in self.run(box.facts(list(rows), frozenset({"size"})))]
        recent = self.run(box.claim_recent(False))
        assert (state.mailbox_id, state.uidvalidity) == (box.mailbox_id, box.uidvalidity)
        assert state.exists == len(rows)
        assert state.unseen == sum(b"\\seen" not in flags for flags in rows.values())
        assert state.deleted == sum(b"\\deleted" in flags for flags in rows.values())
        assert state.octets == sum(sizes)
        assert state.recent == sum(uid >= recent for uid in rows)
        assert state.uidnext > max(rows, default=0)
        assert state.highest_modseq == box.columns().modseq >= max(box.columns().modseqs, default=1)
