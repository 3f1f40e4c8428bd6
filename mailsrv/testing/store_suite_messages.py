"""Store suite: messages in one mailbox - append, read, flags."""

from __future__ import annotations

import re

import pytest
from attrs import evolve

from ..errors import Refused
from ..interfaces import IContent
from ..message.content import MemoryContent
from ..numbers import UidSet
from ..values import DELETED, FIRST_KEYWORD_BIT, SEEN, MessageFacts, NewMessage
from .store_suite_base import ALL, DATE, ZONE, StoreCase, add, message, octets_of, remove, replace

_DATES = frozenset({"dates"})
_SIZE = frozenset({"size"})


class AppendContract(StoreCase):
    """IMailbox.append, facts, contents."""

    #: False for a store that may forget summaries at once.
    keeps_summaries = True

    def test_new_mailbox_is_empty(self) -> None:
        """RFC 7162 section 7: also an empty mailbox has a positive HIGHESTMODSEQ."""
        box = self.mailbox()
        state = self.run(box.state())
        assert (state.exists, state.unseen, state.deleted, state.octets, state.recent) == (0, 0, 0, 0, 0)
        assert state.uidnext >= 1 and state.highest_modseq >= 1
        assert 1 <= state.uidvalidity < 2**32
        assert self.rows(box) == {}

    def test_append_gives_ascending_uids_in_order(self) -> None:
        """RFC 4315: APPENDUID names the UIDs in the order of the messages."""
        box = self.mailbox()
        first = self.run(box.append([message(0), message(1)]))
        second = self.run(box.append([message(2)]))
        uids = first.uids + second.uids
        assert first.uidvalidity == second.uidvalidity == box.uidvalidity
        assert list(uids) == sorted(set(uids)) == box.columns().uids
        assert self.octets(box) == {uid: octets_of(message(n).content) for n, uid in enumerate(uids)}
        assert self.run(box.state()).uidnext > uids[-1]
        self.check_counters(box)

    def test_append_nothing(self) -> None:
        """No message, no UID, no change."""
        box = self.mailbox()
        assert self.run(box.append([])).uids == ()
        assert self.rows(box) == {}

    def test_append_keeps_flags_and_keywords(self) -> None:
        """Flags as given; the bits of Columns."""
        box = self.mailbox()
        self.run(box.append([message(0, b"\\Seen", b"$Forwarded"), message(1, b"\\deleted")]))
        columns = box.columns()
        assert columns.keywords == [b"$Forwarded"]
        assert columns.flags == [SEEN | 1 << FIRST_KEYWORD_BIT, DELETED]
        self.check_counters(box)

    def test_append_takes_a_higher_modseq(self) -> None:
        """Every change of a mailbox takes the next MODSEQ."""
        box = self.mailbox()
        seen = [self.run(box.state()).highest_modseq]
        for number in range(3):
            self.run(box.append([message(number)]))
            seen.append(self.run(box.state()).highest_modseq)
            assert box.columns().modseqs[-1] == seen[-1]
        assert seen == sorted(set(seen))

    def test_facts_give_what_was_wanted_and_defaults(self) -> None:
        """Each fact by itself; not asked for: the default."""
        box = self.mailbox()
        new = message(5)
        (uid,) = self.run(box.append([new])).uids
        size = new.content.size
        assert self.run(box.facts([uid], frozenset())) == [MessageFacts(uid)]
        assert self.run(box.facts([uid], _SIZE)) == [MessageFacts(uid, size=size)]
        (dates,) = self.run(box.facts([uid], _DATES))
        assert (dates.internal_date, dates.zone, dates.size, dates.email_id) == (DATE + 5, ZONE, 0, "")
        assert dates.saved_at > 0
        (full,) = self.run(box.facts([uid], frozenset({"size", "dates", "ids", "summary"})))
        assert (full.size, full.internal_date, full.saved_at) == (size, DATE + 5, dates.saved_at)
        assert full.email_id and full.summary is None

    def test_facts_and_contents_in_the_order_asked(self) -> None:
        """None for one that is not there; repeated UIDs are answered each time."""
        box = self.mailbox()
        a, b, c = self.fill(box, 3)
        asked = [c, a, c + 100, b, a]
        facts = self.run(box.facts(asked, _SIZE))
        assert [fact and fact.uid for fact in facts] == [c, a, None, b, a]
        assert self.run(box.sizes(asked)) == [fact.size if fact else -1 for fact in facts]
        contents = self.run(box.contents(asked))
        assert [content and octets_of(content) for content in contents] == [
            octets_of(message(2).content),
            octets_of(message(0).content),
            None,
            octets_of(message(1).content),
            octets_of(message(0).content),
        ]
        assert self.run(box.facts([], _SIZE)) == [] == self.run(box.sizes([])) and self.run(box.contents([])) == []

    def test_what_is_at_hand_is_what_facts_tell(self) -> None:
        """In columns; nothing at all when one message is gone or has no record of a kind that is asked for."""
        account = self.account()
        box = self.open(account, "INBOX")
        uids = self.fill(box, 4)
        some = [uids[0], uids[2], uids[3]]
        names = ("zone", "summary", "date", "size", "saved")
        self.run(box.keep_summaries([(uid, b"ms%d" % uid) for uid in some]))
        self.run(box.copy(UidSet.of(uids), box.mailbox_id))
        told = self.run(box.at_hand(some, names))
        if told is not None:
            facts = self.run(box.facts(some, frozenset({"size", "dates", "summary"})))
            assert list(zip(*told)) == [(f.zone, f.summary, f.internal_date, f.size, f.saved_at) for f in facts]
        assert self.run(box.at_hand(uids, names)) is None and self.run(box.at_hand(some, ("head",))) is None
        self.run(box.expunge(UidSet.of([uids[2]])))
        assert self.run(self.open(account, "INBOX").at_hand(some, ("size",))) is None

    def test_negative_zone_and_early_dates(self) -> None:
        """A zone west of UTC; a date before 1970 (APPEND may give one)."""
        box = self.mailbox()
        given = [(-86_400 * 365, -570), (0, 0), (2**33, 14 * 60)]
        new = [NewMessage(message(0).content, frozenset(), date, zone) for date, zone in given]
        uids = self.run(box.append(new)).uids
        assert [(f.internal_date, f.zone) for f in self.run(box.facts(uids, _DATES))] == given

    def test_email_ids(self) -> None:
        """RFC 8474 section 4: 1 to 255 of letters, digits, _ and -; different for different messages."""
        box = self.mailbox()
        ids = [fact.email_id for fact in self.run(box.facts(self.fill(box, 5), frozenset({"ids"})))]
        assert len(set(ids)) == 5
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,255}", email_id) for email_id in ids)

    def test_messages_appended_as_international_are_known(self) -> None:
        """RFC 6855: as those that came with SMTPUTF8."""
        box = self.mailbox()
        plain, marked = self.run(box.append([message(0), evolve(message(1), international=True)])).uids
        assert list(self.run(box.peculiar()).international) == [marked]
        self.run(box.copy(UidSet.of([marked, plain]), box.mailbox_id))
        assert len(self.run(box.peculiar()).international) == 2

    def test_an_append_may_replace_a_message_in_one_commit(self) -> None:
        """RFC 8508: also one of another mailbox; all or nothing."""
        box, other = self.mailbox(), self.mailbox("bob")
        uids = self.fill(box, 3)
        told: list[list[int]] = []
        box.watch(lambda: told.append(list(box.columns().uids)))
        appended = self.run(box.append([message(7)], (box.mailbox_id, uids[1])))
        assert box.columns().uids == [uids[0], uids[2], *appended.uids] and told == [box.columns().uids]
        assert uids[1] in self.run(box.changes(1)).vanished
        self.check_counters(box)
        self.run(other.append([message(8)], (box.mailbox_id, uids[0])))
        assert len(other.columns().uids) == 1 and box.columns().uids == [uids[2], *appended.uids]
        for gone in (box.mailbox_id, uids[0]), (10**6, 1):
            with pytest.raises(Refused):
                self.run(box.append([message(9)], gone))
        assert box.columns().uids == [uids[2], *appended.uids]
        self.check_counters(box)
        self.check_counters(other)

    def test_unique_ids_stay_with_the_message(self) -> None:
        """RFC 1939 section 7: what POP3 is to show for a message that another server had before."""
        box = self.mailbox()
        theirs = [evolve(message(number), unique_id=b"!~%d" % number) for number in range(2)]
        a, b, c = self.run(box.append([theirs[0], message(5), theirs[1]])).uids
        assert self.run(box.peculiar()).unique_ids == {a: b"!~0", c: b"!~1"}
        self.run(box.expunge(UidSet.of([a, b])))
        assert self.run(box.peculiar()).unique_ids == {c: b"!~1"}
        assert self.run(self.mailbox("bob").peculiar()).unique_ids == {}

    def test_summaries_are_kept(self) -> None:
        """What was kept comes back for that message; unknown UIDs are ignored."""
        box = self.mailbox()
        a, b, c = self.fill(box, 3)
        self.run(box.keep_summaries([(a, b"of a\0"), (c, b"of c"), (c + 9, b"nobody's")]))
        kept = [fact.summary for fact in self.run(box.facts([a, b, c], frozenset({"summary"})))]
        if self.keeps_summaries:
            assert kept == [b"of a\0", None, b"of c"]
        assert all(got in (None, want) for got, want in zip(kept, [b"of a\0", None, b"of c"], strict=True))

    def test_records_of_every_kind_are_kept_apart(self) -> None:
        """Records of renderings have names of their own."""
        box = self.mailbox()
        a, b = self.fill(box, 2)
        self.run(box.keep_summaries([(a, b"size\0")], "size.1.text.utf-8"))
        self.run(box.keep_summaries([(a, b"head"), (b, b"head")], "head"))
        for kind, want in (
            ("size.1.text.utf-8", [b"size\0", None, None]), ("head", [b"head", b"head", None]), ("other", [None] * 3)
        ):
            kept = self.run(box.records([a, b, b + 9], kind))
            if self.keeps_summaries:
                assert kept == want
            assert all(got in (None, wanted) for got, wanted in zip(kept, want, strict=True))

    @pytest.mark.parametrize("size", [0, 2**20 + 4097, 3 * 2**20])
    def test_content_octets(self, size: int) -> None:
        """Equal to the octet, in chunks of at most 256 KiB and by slices."""
        box = self.mailbox()
        octets = octets_of(message(1, size=size).content) if size else b""
        (uid,) = self.run(box.append([NewMessage(MemoryContent(octets))])).uids
        (content,) = self.run(box.contents([uid]))
        assert IContent.providedBy(content)
        chunks = list(content.chunks())
        assert b"".join(chunks) == octets and all(len(chunk) <= 256 * 2**10 for chunk in chunks)
        assert content.size == len(octets)
        for offset, length in [(0, 10), (5, 0), (size // 2, 70_000), (max(0, size - 3), 100), (size * 2, 5)]:
            assert self.run(content.read(offset, length)) == octets[offset : offset + length]
        content.close()
        content.close()

    def test_octets_are_not_interpreted(self) -> None:
        """NUL, 8-bit and bare line ends come back as they came."""
        box = self.mailbox()
        octets = bytes(range(256)) + b"\n.\r\n..\r\r\n"
        (uid,) = self.run(box.append([NewMessage(MemoryContent(octets))])).uids
        assert self.octets(box) == {uid: octets}


class FlagContract(StoreCase):
    """IMailbox.update."""

    def test_actions(self) -> None:
        """Add, remove, replace; the result has every row addressed, as it is now."""
        box = self.mailbox()
        a, b = self.fill(box, 2, b"\\Seen")
        updated = self.run(box.update(UidSet.of([a, b, b + 7]), add(b"\\Flagged", b"work")))
        assert list(updated.uids) == [a, b] and not updated.conflicts
        assert list(updated.flags) == box.columns().flags
        assert updated.modseq == box.columns().modseq == self.run(box.state()).highest_modseq
        assert self.rows(box)[a] == {b"\\seen", b"\\flagged", b"work"}
        self.run(box.update(UidSet.of([a]), remove(b"\\SEEN", b"never-there")))
        assert self.rows(box) == {a: {b"\\flagged", b"work"}, b: {b"\\seen", b"\\flagged", b"work"}}
        self.run(box.update(UidSet.of([b]), replace(b"\\Draft")))
        assert self.rows(box)[b] == {b"\\draft"}
        self.run(box.update(ALL, replace()))
        assert self.rows(box) == {a: frozenset(), b: frozenset()}
        self.check_counters(box)

    def test_removing_an_unknown_keyword_does_not_make_it(self) -> None:
        """The keyword table holds what somebody set."""
        box = self.mailbox()
        self.fill(box, 1)
        self.run(box.update(ALL, remove(b"never")))
        assert box.columns().keywords == []

    def test_keywords_have_no_case(self) -> None:
        """RFC 9051 section 2.3.2: compared without case; the first spelling stays."""
        box = self.mailbox()
        a, b = self.fill(box, 2)
        self.run(box.update(UidSet.of([a]), add(b"Work")))
        self.run(box.update(UidSet.of([b]), add(b"WORK")))
        assert box.columns().keywords == [b"Work"]
        assert len(set(box.columns().flags)) == 1
        self.run(box.update(UidSet.of([a]), remove(b"work")))
        assert self.rows(box) == {a: frozenset(), b: {b"work"}}

    def test_many_keywords_then_refused(self) -> None:
        """500 keywords of a mailbox can all be told apart; one more is Refused, and nothing changes."""
        box = self.mailbox()
        a, b = self.fill(box, 2)
        words = [b"k%03d" % number for number in range(500)]
        for start in range(0, 500, 100):
            self.run(box.update(UidSet.of([a]), add(*words[start : start + 100])))
        assert self.rows(box)[a] == frozenset(words)
        with pytest.raises(Refused):
            self.run(box.update(UidSet.of([b]), add(b"one-more", b"\\Seen")))
        with pytest.raises(Refused):
            self.run(box.append([message(9), message(10, b"one-more")]))
        self.run(box.update(UidSet.of([b]), add(b"K499")))
        assert self.rows(box) == {a: frozenset(words), b: {b"k499"}}
        assert len(box.columns().keywords) == 500

    def test_recent_cannot_be_set(self) -> None:
        """RFC 3501 section 2.3.2: no client can alter \\Recent."""
        box = self.mailbox()
        (a,) = self.fill(box, 1)
        self.run(box.update(ALL, add(b"\\Recent")))
        assert self.rows(box) == {a: frozenset()} and box.columns().keywords == []

    def test_row_without_change_keeps_its_modseq(self) -> None:
        """Only rows that really change take the MODSEQ."""
        box = self.mailbox()
        a, b = self.fill(box, 2)
        self.run(box.update(UidSet.of([a]), add(b"\\Seen")))
        before = list(box.columns().modseqs)
        updated = self.run(box.update(ALL, add(b"\\Seen")))
        after = box.columns().modseqs
        assert list(updated.uids) == [a, b]
        assert after[0] == before[0] and after[1] == updated.modseq > max(before)
        self.run(box.update(ALL, add(b"\\Seen")))
        assert box.columns().modseqs == [before[0], updated.modseq]

    def test_unchanged_since(self) -> None:
        """RFC 7162 section 3.1.3: a row above the condition is refused and reported, the others change."""
        box = self.mailbox()
        a, b, c = self.fill(box, 3)
        moment = self.run(box.state()).highest_modseq
        self.run(box.update(UidSet.of([b]), add(b"\\Flagged")))
        updated = self.run(box.update(UidSet.of([a, b, c, c + 1]), add(b"\\Seen"), moment))
        assert updated.conflicts == UidSet.of([b])
        assert list(updated.uids) == [a, b, c]
        assert dict(zip(updated.uids, updated.flags, strict=True)) == dict(
            zip(box.columns().uids, box.columns().flags, strict=True)
        )
        assert self.rows(box) == {a: {b"\\seen"}, b: {b"\\flagged"}, c: {b"\\seen"}}
        assert self.run(box.update(ALL, add(b"\\Draft"), 0)).conflicts == UidSet.of([a, b, c])
        assert not self.run(box.update(ALL, add(b"\\Draft"), updated.modseq)).conflicts

    def test_unknown_uids_are_ignored(self) -> None:
        """Nothing addressed: nothing happens."""
        box = self.mailbox()
        self.fill(box, 2)
        before = self.rows(box)
        updated = self.run(box.update(UidSet.of([99, 1000]), replace(b"\\Seen"), 1))
        assert list(updated.uids) == [] and not updated.conflicts
        assert self.rows(box) == before

    def test_columns_are_shared_and_overwritten_in_place(self) -> None:
        """All handles refer to one `Columns`; flags change in the lists that are there."""
        account = self.account()
        one, two = self.open(account, "INBOX"), self.open(account, "inbox")
        assert one.columns() is two.columns()
        self.fill(one, 2)
        columns = two.columns()
        uids = columns.uids
        assert len(uids) == 2
        self.run(one.update(ALL, add(b"\\Seen")))
        assert columns.flags == [SEEN, SEEN]
        self.fill(one, 1)
        assert columns.uids is uids and len(uids) == len(columns.flags) == len(columns.modseqs) == 3
