"""Store suite: `changes(since)` - from every past moment it leads to the present (RFC 7162)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from attrs import define, field

from ..numbers import UidSet
from ..store import keywords as kw
from ..values import Changes, FlagChange, Placement
from .store_suite_base import ALL, StoreCase, add, message

Snapshot = dict[int, frozenset[bytes]]
_FLAGS = (b"\\Seen", b"\\Deleted", b"\\Flagged", b"\\Answered", b"\\Draft", b"alpha", b"Beta", b"gamma")


@define
class _Moment:
    """A mailbox at a MODSEQ, as a naive model has it."""

    modseq: int
    rows: Snapshot


@define
class _Modelled:
    """One mailbox beside its model: rows, and every moment there was."""

    box: Any
    rows: Snapshot = field(factory=dict)
    moments: list[_Moment] = field(factory=list)
    #: UID -> number of the moment in which it was first missing.
    vanished: dict[int, int] = field(factory=dict)


class ChangesContract(StoreCase):
    """IMailbox.changes by example."""

    def test_since_zero_is_everything(self) -> None:
        """All rows, with flags and MODSEQs."""
        box = self.mailbox()
        self.fill(box, 3)
        self.run(box.update(UidSet.of(box.columns().uids[1:2]), add(b"\\Seen")))
        self.run(box.expunge(UidSet.of(box.columns().uids[:1])))
        changes = self.run(box.changes(0))
        columns = box.columns()
        assert (list(changes.uids), list(changes.flags), list(changes.modseqs)) == (
            columns.uids,
            columns.flags,
            columns.modseqs,
        )
        assert changes.modseq == self.run(box.state()).highest_modseq

    def test_since_now_is_nothing(self) -> None:
        """The moment to ask from next."""
        box = self.mailbox()
        self.fill(box, 2)
        self.run(box.expunge(ALL))
        now = self.run(box.changes(0)).modseq
        changes = self.run(box.changes(now))
        assert (list(changes.uids), changes.vanished, changes.modseq, changes.floor) == ([], UidSet(), now, False)

    def test_each_kind_of_change(self) -> None:
        """Appended, flagged and vanished rows, each after its own moment only."""
        box = self.mailbox()
        a, b, c = self.fill(box, 3)
        one = self.run(box.state()).highest_modseq
        (d,) = self.fill(box, 1)
        two = self.run(box.state()).highest_modseq
        self.run(box.update(UidSet.of([b]), add(b"\\Seen")))
        three = self.run(box.state()).highest_modseq
        self.run(box.expunge(UidSet.of([a])))
        for since, uids, vanished in (
            (one, [b, d], [a]),
            (two, [b], [a]),
            (three, [], [a]),
            (self.run(box.state()).highest_modseq, [], []),
        ):
            changes = self.run(box.changes(since))
            assert (list(changes.uids), changes.vanished) == (uids, UidSet.of(vanished))
        assert c in self.rows(box)

    def test_vanished_has_no_gaps_filled(self) -> None:
        """A UID that exists, or never did, is not in it."""
        box = self.mailbox()
        uids = self.fill(box, 30)
        moment = self.run(box.state()).highest_modseq
        gone = [*uids[3:9], uids[12], *uids[20:]]
        self.run(box.expunge(UidSet.of(gone[::2])))
        self.run(box.expunge(UidSet.of(gone[1::2])))
        assert self.run(box.changes(moment)).vanished == UidSet.of(gone)

    def test_appended_and_expunged_meanwhile(self) -> None:
        """The past did not know it: not among the rows."""
        box = self.mailbox()
        moment = self.run(box.state()).highest_modseq
        (uid,) = self.fill(box, 1)
        self.run(box.expunge(ALL))
        changes = self.run(box.changes(moment))
        assert list(changes.uids) == [] and set(changes.vanished) <= {uid}


class RandomChangesContract(StoreCase):
    """Random changes of three mailboxes of two accounts against a naive model."""

    random_steps = 60

    @pytest.mark.parametrize("seed", range(4))
    def test_changes_replay_from_every_moment(self, seed: int) -> None:
        """Old snapshot + changes(since) = the present; counters and columns agree after every step."""
        rng = random.Random(seed)
        alice, bob = self.account("alice"), self.account("bob")
        handles = [self.open(alice, "INBOX"), self.open(alice, "other"), self.open(bob, "INBOX")]
        boxes = [_Modelled(box) for box in handles]
        for modelled in boxes:
            self._note(modelled)
        for number in range(self.random_steps):
            views = [(box.box.columns().uids, list(box.box.columns().uids)) for box in boxes]
            self._step(rng, boxes, number, (alice.account_id, bob.account_id))
            for (live, was), modelled in zip(views, boxes, strict=True):
                assert live[: len(was)] == was, "a list that a session keeps as its view was changed"
                self._note(modelled)
                self.check_counters(modelled.box)
                for at in {0, len(modelled.moments) - 2, rng.randrange(len(modelled.moments))}:
                    self._replay(modelled, at)
        for modelled in boxes:
            for at in range(len(modelled.moments)):
                self._replay(modelled, at)

    def _note(self, modelled: _Modelled) -> None:
        """The mailbox is what the model says; remember the moment."""
        assert self.rows(modelled.box) == modelled.rows
        modseq = self.run(modelled.box.state()).highest_modseq
        if modelled.moments:
            last = modelled.moments[-1]
            assert modseq > last.modseq or (modseq == last.modseq and last.rows == modelled.rows)
            for uid in last.rows.keys() - modelled.rows.keys():
                modelled.vanished[uid] = len(modelled.moments)
        modelled.moments.append(_Moment(modseq, dict(modelled.rows)))

    def _replay(self, modelled: _Modelled, at: int) -> None:
        """The changes since a moment are exactly what differs."""
        moment = modelled.moments[at]
        changes: Changes = self.run(modelled.box.changes(moment.modseq))
        assert changes.modseq == modelled.moments[-1].modseq
        assert list(changes.uids) == sorted(changes.uids)
        news = {uid: self.flag_names(modelled.box, mask) for uid, mask in zip(changes.uids, changes.flags, strict=True)}
        columns = modelled.box.columns()
        modseqs = dict(zip(columns.uids, columns.modseqs, strict=True))
        assert list(changes.modseqs) == [modseqs[uid] for uid in changes.uids]
        if changes.floor:
            assert news == modelled.rows
            return
        assert set(changes.uids) == {uid for uid, modseq in modseqs.items() if modseq > moment.modseq}
        vanished = set(changes.vanished)
        later = {uid for uid, since in modelled.vanished.items() if modelled.moments[since].modseq > moment.modseq}
        # Rows that came and went after the moment are unknown to the asker; they may be told or not.
        assert moment.rows.keys() & later <= vanished <= later
        replayed = {uid: flags for uid, flags in moment.rows.items() if uid not in vanished} | news
        assert replayed == modelled.rows

    def _step(self, rng: random.Random, boxes: list[_Modelled], number: int, accounts: tuple[int, int]) -> None:
        """One random operation on store and model."""
        one, other = rng.choice(boxes), rng.choice(boxes)
        chosen = UidSet.of(rng.sample(sorted(one.rows), rng.randint(0, min(4, len(one.rows)))))
        flags = frozenset(rng.sample(_FLAGS, rng.randint(0, 3)))
        kind = rng.choice(["append", "append", "deliver", "update", "update", "condition", "expunge", "copy", "move"])
        if kind == "append":
            new = [message(number * 10 + n, *flags) for n in range(rng.randint(1, 4))]
            for uid in self.run(one.box.append(new)).uids:
                one.rows[uid] = _lower(flags)
        elif kind == "deliver":
            self._deliver(boxes, message(number), flags, accounts)
        elif kind in ("update", "condition"):
            self._update(rng, one, chosen, flags, kind == "condition")
        elif kind == "expunge":
            assert self.run(one.box.expunge(chosen | UidSet([(10**6, 10**7)]))) == chosen
            for uid in chosen:
                del one.rows[uid]
        else:
            copied = self.run(one.box.copy(chosen, other.box.mailbox_id, kind == "move"))
            assert [old for old, _ in copied.pairs] == list(chosen)
            for old, new_uid in copied.pairs:
                other.rows[new_uid] = one.rows[old]
            for uid in chosen if kind == "move" else ():
                del one.rows[uid]

    def _deliver(self, boxes: list[_Modelled], new: Any, flags: frozenset[bytes], accounts: tuple[int, int]) -> None:
        """Into all three mailboxes at once; the UIDs are seen afterwards."""
        placements = [Placement(accounts[0], "INBOX", flags), Placement(accounts[0], "other"), Placement(accounts[1])]
        self.deliver(new, placements)
        for modelled, placement in zip(boxes, placements, strict=True):
            (uid,) = set(modelled.box.columns().uids) - modelled.rows.keys()
            modelled.rows[uid] = _lower(placement.flags)

    def _update(
        self, rng: random.Random, one: _Modelled, chosen: UidSet, flags: frozenset[bytes], condition: bool
    ) -> None:
        """A flag change, perhaps with UNCHANGEDSINCE."""
        change = FlagChange(rng.choice(["add", "remove", "replace"]), flags)
        since = rng.choice(one.moments).modseq if condition else None
        columns = one.box.columns()
        modseqs = dict(zip(columns.uids, columns.modseqs, strict=True))
        refused = UidSet.of(uid for uid in chosen if since is not None and modseqs[uid] > since)
        updated = self.run(one.box.update(chosen, change, since))
        assert updated.conflicts == refused
        for uid in chosen:
            if uid not in refused:
                one.rows[uid] = _changed(one.rows[uid], change)
        assert list(updated.uids) == list(chosen)
        assert [frozenset(map(bytes.lower, kw.names_of(mask, columns.keywords))) for mask in updated.flags] == [
            one.rows[uid] for uid in chosen
        ]


class ShortHistoryContract(StoreCase):
    """A store of which `make` gives one that remembers only a few removals (`history`) of a mailbox."""

    history = 5

    def test_floor(self) -> None:
        """Too far in the past: all rows, `floor`; since then: what vanished is known."""
        box = self.mailbox()
        self.fill(box, 40)
        before = self.run(box.state()).highest_modseq
        moments = []
        for _ in range(self.history * 4):
            self.run(box.expunge(UidSet.of(box.columns().uids[:1])))
            moments.append(self.run(box.state()).highest_modseq)
        rows = list(self.rows(box))
        for since in (1, before, moments[0]):
            changes = self.run(box.changes(since))
            assert changes.floor and list(changes.uids) == rows and changes.modseq == moments[-1]
        known = [self.run(box.changes(since)) for since in moments[-self.history - 1 :]]
        assert [len(changes.vanished) for changes in known] == list(range(self.history, -1, -1))
        assert not any(changes.floor or changes.uids for changes in known)


def _lower(flags: frozenset[bytes]) -> frozenset[bytes]:
    """Compared without case."""
    return frozenset(flag.lower() for flag in flags)


def _changed(old: frozenset[bytes], change: FlagChange) -> frozenset[bytes]:
    """The naive meaning of a flag change."""
    flags = _lower(change.flags)
    return {"add": old | flags, "remove": old - flags, "replace": flags}[change.action]
