"""Clients that come back (RFC 7162): after every resynchronisation a client's copy is the mailbox.

Several obedient clients, each of another kind, know only what they were told over the wire.  They take for the moment
up to which they know everything the highest MODSEQ that they heard, unless the server says HIGHESTMODSEQ (section
3.2.4); then they are cut off, come back with that, and are compared with the mailbox.  The mailbox is changed between
commands and in the middle of them, and remembers only the last few expunges.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule

from mailsrv.message.content import MemoryContent
from mailsrv.numbers import UidSet
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.bed import DOMAIN, Bed
from mailsrv.values import DomainFacts, FlagChange, NewMessage
from tests.properties import tries

FLAGS = (b"\\Seen", b"\\Deleted", b"\\Flagged", b"$label1")
KINDS = ("condstore", "qresync", "uidonly")
_FETCH = re.compile(rb"\* (\d+) (UID)?FETCH \((.*)\)").fullmatch
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)").search
_UID = re.compile(rb"UID (\d+)").search
_MODSEQ = re.compile(rb"MODSEQ \((\d+)\)").search
_HIGHEST = re.compile(rb"OK \[HIGHESTMODSEQ (\d+)\]").search
_VANISHED = re.compile(rb"\* VANISHED (\(EARLIER\) )?([0-9:,]+)").fullmatch
_COUNT = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE)").fullmatch
#: Methods of a mailbox in the middle of which others may be at it too.
_RESTLESS = frozenset({"changes", "update", "state", "claim_recent", "expunge"})


class Restless:
    """A store, account or mailbox; each call of its mailboxes lets one of the `deeds` happen before and after."""

    def __init__(self, inner: Any, deeds: list[Callable[[], None]]) -> None:
        self._inner, self._deeds = inner, deeds

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in ("account", "open"):

            async def wrapped(*arguments: Any) -> Any:
                return Restless(await found(*arguments), self._deeds)

            return wrapped
        if name not in _RESTLESS:
            return found

        async def disturbed(*arguments: Any) -> Any:
            self._happen()
            result = await found(*arguments)
            self._happen()
            return result

        return disturbed

    def _happen(self) -> None:
        if self._deeds:
            self._deeds.pop(0)()


class Client:
    """One client: its copy of the mailbox, which outlives its connections, and what it knows of the numbers."""

    def __init__(self, bed: Bed, kind: str) -> None:
        self.bed, self.kind = bed, kind
        #: UID -> (flags, MODSEQ), as far as told.
        self.copy: dict[int, tuple[frozenset[bytes], int]] = {}
        self.uidvalidity = self.modseq = 0
        #: Up to this UID all messages were fetched once.
        self.fetched = 0
        #: UIDs by number; None until told.
        self.uids: list[int | None] = []
        self.connect("")

    # ------------------------------------------------------------ talk

    def say(self, line: str) -> list[bytes]:
        """One command and all that comes until its end, believed."""
        self.transport.send(line.encode() + b"\r\n")
        self.bed.settle()
        lines = self.transport.take().split(b"\r\n")[:-1]
        tag = line.split()[0].encode()
        assert lines and lines[-1].startswith(tag + b" "), (line, lines)
        assert not lines[-1].startswith(tag + b" BAD"), (line, lines)
        self.believe(lines)
        return lines

    def believe(self, lines: list[bytes]) -> None:
        """Take in what was told, in its order."""
        told: list[int] = []
        highest: list[int] = []
        for line in lines:
            if found := _FETCH(line):
                told += self._fetched(int(found[1]), bool(found[2]), found[3])
            elif found := _VANISHED(line):
                assert self.kind != "condstore"
                self._vanished(found[2], bool(found[1]))
            elif found := _COUNT(line):
                self._counted(int(found[1]), found[2])
            elif found := _HIGHEST(line):
                highest.append(int(found[1]))
            elif found := re.search(rb"\[UIDVALIDITY (\d+)\]", line):
                if int(found[1]) != self.uidvalidity:
                    self.copy, self.uidvalidity = {}, int(found[1])
        self.modseq = highest[-1] if highest else max([self.modseq, *told])

    def _fetched(self, number: int, uid_only: bool, items: bytes) -> list[int]:
        assert uid_only == (self.kind == "uidonly"), items
        named = _UID(items)
        if uid_only:
            uid = number
        else:
            assert 1 <= number <= len(self.uids), "FETCH of a number that is not there"
            uid = int(named[1]) if named else self.uids[number - 1] or 0
            assert self.uids[number - 1] in (None, uid), "FETCH of another message"
            self.uids[number - 1] = uid
        flags, modseq = _FLAGS(items), _MODSEQ(items)
        old = self.copy.get(uid, (frozenset(), 0))
        known = frozenset(flags[1].split()) - {b"\\Recent"} if flags else old[0]
        if flags or uid in self.copy:
            self.copy[uid] = known, int(modseq[1]) if modseq else old[1]
        return [int(modseq[1])] if modseq else []

    def _vanished(self, octets: bytes, earlier: bool) -> None:
        ranges = [part.partition(b":") for part in octets.split(b",")]
        gone = UidSet((int(low), int(high or low)) for low, _, high in ranges)
        for uid in [uid for uid in self.copy if uid in gone]:
            del self.copy[uid]
        if earlier:
            assert not any(uid in gone for uid in self.uids if uid), "VANISHED (EARLIER) of what has a number"
        elif self.kind == "uidonly":
            self.uids = self.uids[: len(self.uids) - len(gone)]
        else:
            for uid in gone:
                self._lost(uid)

    def _lost(self, uid: int) -> None:
        """A UID lost its number; of one that was not fetched yet it is one behind all lower ones."""
        if uid in self.uids:
            self.uids.remove(uid)
            return
        behind = max([at for at, known in enumerate(self.uids, 1) if known and known < uid], default=0)
        assert None in self.uids[behind:], "VANISHED of what has no number"
        del self.uids[self.uids.index(None, behind)]

    def _counted(self, count: int, what: bytes) -> None:
        if what == b"EXISTS":
            assert count >= len(self.uids)
            self.uids += [None] * (count - len(self.uids))
            return
        assert self.kind == "condstore", "EXPUNGE"
        uid = self.uids.pop(count - 1)
        if uid:
            self.copy.pop(uid, None)

    # ------------------------------------------------------------ sessions

    def connect(self, how: str) -> None:
        """Log in, select, catch up; `how` of "", known, fetch for QRESYNC."""
        self.uids = []
        self.transport = self.bed.connect("imap")
        self.transport.take()
        self.say("l LOGIN me secret")
        if self.kind != "condstore":
            self.say("e ENABLE QRESYNC" + (" UIDONLY" if self.kind == "uidonly" else ""))
        self.select(how)

    def select(self, how: str) -> None:
        """Open the mailbox and make the copy good."""
        since, self.uids = self.modseq, []
        if self.kind == "condstore" or how == "fetch" or not since:
            self.say("s SELECT INBOX (CONDSTORE)")
            if since:
                vanished = " VANISHED" if self.kind != "condstore" else ""
                self.say(f"f UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE {since}{vanished})")
            if self.kind == "condstore":
                found = [line for line in self.say("u UID SEARCH ALL") if line.startswith(b"* SEARCH")]
                there = {int(uid) for uid in found[0].split()[2:]}
                self.copy = {uid: row for uid, row in self.copy.items() if uid in there}
        else:
            self.say(f"s SELECT INBOX (QRESYNC ({self.uidvalidity} {since}{self._known(how)}))")
        if self.kind != "uidonly":
            # Which numbers mean what; the copy is not touched.
            self.say("m UID FETCH 1:* (UID)")
        self.fetch_new()

    def _known(self, how: str) -> str:
        """Known UIDs, and numbers that they are thought to have had, every second of them."""
        uids = sorted(self.copy)
        if not how or not uids:
            return ""
        some = " " + ",".join(map(str, uids))
        if how == "matches" and self.kind != "uidonly":
            numbers = range(1, len(uids) + 1)
            some += " ({} {})".format(
                ",".join(map(str, numbers[::2])), ",".join(map(str, uids[::2]))
            )
        return some

    def fetch_new(self) -> None:
        """New messages are fetched at once."""
        self.say(f"n UID FETCH {self.fetched + 1}:* (UID FLAGS MODSEQ)")
        self.fetched = max([self.fetched, *self.copy])

    def settle(self) -> None:
        """Up to date."""
        self.say("a NOOP")
        self.fetch_new()
        self.say("b NOOP")


class Model(RuleBasedStateMachine):
    """Clients of all kinds and a program that changes the mailbox behind their backs."""

    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.bed = Bed()
        store = MemoryStore(self.bed.clock.seconds, [DomainFacts(DOMAIN)], history=3)
        self.bed.store = store
        self.bed.accounts["me"] = self.bed.add_account("me")
        account = self.bed.loop.run(store.account(self.bed.accounts["me"]))
        self.writer = self.bed.loop.run(account.open("INBOX"))
        self.deeds: list[Callable[[], None]] = []
        self.bed.store = Restless(store, self.deeds)  # type: ignore[assignment]

    # ------------------------------------------------------------ the program

    def run(self, coroutine: Any) -> Any:
        return self.bed.loop.run(coroutine)

    def append(self, count: int = 1) -> None:
        self.run(self.writer.append([NewMessage(MemoryContent(b"Subject: x\r\n\r\n"))] * count))

    def change(self, place: int, flag: bytes) -> None:
        """Turn the flag over."""
        uids = self.writer.columns().uids
        if uids:
            chosen, before = UidSet.of([uids[place % len(uids)]]), self.writer.columns().modseq
            for action in ("add", "remove"):
                if self.writer.columns().modseq == before:
                    self.run(self.writer.update(chosen, FlagChange(action, frozenset([flag]))))

    def remove(self, place: int) -> None:
        uids = self.writer.columns().uids
        if uids:
            self.run(self.writer.expunge(UidSet.of([uids[place % len(uids)]])))

    def deed(self, data: st.DataObject) -> Callable[[], None]:
        place = data.draw(st.integers(0, 5))
        flag = data.draw(st.sampled_from(FLAGS))
        return data.draw(st.sampled_from([self.append, lambda: self.change(place, flag), lambda: self.remove(place)]))

    @initialize(target=clients, kind=st.sampled_from(KINDS))
    def first(self, kind: str) -> Client:
        self.append(4)
        return Client(self.bed, kind)

    @rule(target=clients, kind=st.sampled_from(KINDS))
    def another(self, kind: str) -> Client:
        return Client(self.bed, kind)

    @rule(client=consumes(clients))
    def leave(self, client: Client) -> None:
        client.transport.drop()
        self.bed.settle()

    @rule(data=st.data())
    def behind_their_backs(self, data: st.DataObject) -> None:
        self.deed(data)()

    @rule(data=st.data(), count=st.integers(1, 3))
    def in_the_middle(self, data: st.DataObject, count: int) -> None:
        self.deeds += [self.deed(data) for _ in range(count)]

    # ------------------------------------------------------------ the clients

    @rule(client=clients)
    def noop(self, client: Client) -> None:
        client.say("a NOOP")

    @rule(client=clients)
    def by_numbers(self, client: Client) -> None:
        """FETCH holds expunges back, unless only UIDs are spoken of."""
        if client.kind == "uidonly":
            client.say("f UID FETCH 1:* (FLAGS MODSEQ)")
        elif client.uids:
            client.say("f FETCH 1:* (UID FLAGS MODSEQ)")

    @rule(client=clients, data=st.data(), flag=st.sampled_from(FLAGS), silent=st.booleans(), sign=st.sampled_from("+-"))
    def store(self, client: Client, data: st.DataObject, flag: bytes, silent: bool, sign: str) -> None:
        if not client.uids or not client.copy:
            return
        condition = data.draw(st.sampled_from(["", f" (UNCHANGEDSINCE {client.modseq})"]))
        for _ in range(data.draw(st.integers(0, 3))):
            # Somebody is at the flags of the first message in the middle of it: often one of those.
            self.deeds.append(partial(self.change, 0, data.draw(st.sampled_from(FLAGS))))
        if client.kind == "uidonly":
            uids = data.draw(st.lists(st.sampled_from(sorted(client.copy)), min_size=1, max_size=3))
            command, named = f"s UID STORE {','.join(map(str, uids))}", set(uids)
        else:
            known = [number for number, uid in enumerate(client.uids, 1) if uid]
            numbers = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)) if known else [1]
            command = f"s STORE {','.join(map(str, numbers))}"
            named = {client.uids[number - 1] or 0 for number in numbers}
        lines = client.say(f"{command}{condition} {sign}FLAGS{'.SILENT' if silent else ''} ({flag.decode()})")
        if silent:
            self._expect(client, lines, named, flag, sign)
        if data.draw(st.booleans()):
            self.compare(client)

    def _expect(self, client: Client, lines: list[bytes], named: set[int], flag: bytes, sign: str) -> None:
        """A silent client supposes that what is told with a new MODSEQ alone has the flags that it wanted, until it
        is told otherwise."""
        supposed: set[int] = set()
        for line in lines:
            if found := _FETCH(line):
                uid = int(found[1]) if found[2] else int(_UID(found[3])[1])  # type: ignore[index]
                if _FLAGS(found[3]):
                    supposed.discard(uid)
                else:
                    supposed.add(uid)
        for uid in supposed & named & set(client.copy):
            flags, modseq = client.copy[uid]
            client.copy[uid] = (flags | {flag} if sign == "+" else flags - {flag}), modseq

    @rule(client=clients)
    def expunge(self, client: Client) -> None:
        client.say("x EXPUNGE")

    @rule(client=clients)
    def close(self, client: Client) -> None:
        client.say("x CLOSE")
        client.select("")

    @rule(client=clients, how=st.sampled_from(["", "known", "matches", "fetch"]), wait=st.booleans())
    def comes_back(self, client: Client, how: str, wait: bool) -> None:
        """The connection is lost; the copy is good again after the next one is made."""
        if wait:
            client.settle()
        client.transport.drop()
        self.bed.settle()
        client.connect(how)
        self.compare(client)

    @rule(client=clients, how=st.sampled_from(["", "known", "matches", "fetch"]))
    def selects_again(self, client: Client, how: str) -> None:
        client.select(how)
        self.compare(client)

    @rule(client=clients)
    def settled(self, client: Client) -> None:
        self.compare(client)

    def compare(self, client: Client) -> None:
        self.deeds.clear()
        client.settle()
        columns, keywords = self.writer.columns(), self.writer.columns().keywords
        names = (b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Seen", b"\\Draft", *keywords)
        there = {
            uid: (frozenset(name for bit, name in enumerate(names) if mask >> bit & 1), modseq)
            for uid, mask, modseq in zip(columns.uids, columns.flags, columns.modseqs, strict=True)
        }
        assert client.copy == there, (client.kind, client.copy, there)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=tries(25), stateful_step_count=30, deadline=None)
