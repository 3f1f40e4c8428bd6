"""The IMAP session where a conversation's text is not enough: failures of the store, slow clients, what is let go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from imap_doubles import Hooked, SlowStore

from mailsrv import errors
from mailsrv.message.content import MemoryContent
from mailsrv.numbers import UidSet
from mailsrv.serve.imap import selected
from mailsrv.serve.imap.answer import CODES, code_of
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import FlagChange, NewMessage


def message(size: int = 100, subject: bytes = b"x") -> bytes:
    head = b"Subject: %b\r\n\r\n" % subject
    return head + b"".join(b"%06d\r\n" % at for at in range(size // 8 + 1))[: size - len(head)]


def login(bed: Bed, window: int = 1 << 30) -> MemoryTransport:
    client = bed.connect("imap", window=window)
    say(bed, client, b"l LOGIN me secret")
    say(bed, client, b"s SELECT INBOX")
    return client


def say(bed: Bed, client: MemoryTransport, line: bytes) -> bytes:
    client.send(line + b"\r\n")
    bed.settle()
    return client.take()


def session_of(client: MemoryTransport) -> Any:
    assert client.protocol is not None
    return client.protocol.session


def hook(client: MemoryTransport, **hooks: Callable[..., Any]) -> Hooked:
    """Let the selected mailbox of this session call `hooks` first."""
    selection = session_of(client).selection
    selection.mailbox = selection.view.mailbox = hooked = Hooked(selection.mailbox, hooks)
    return hooked


def raiser(error: Exception) -> Callable[..., Any]:
    def raising(*arguments: Any, **keywords: Any) -> Any:
        raise error

    return raising


def inbox(bed: Bed) -> Any:
    account = bed.loop.run(bed.store.account(bed.accounts["me"]))
    return bed.loop.run(account.open("INBOX"))


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    "error, code",
    [
        (errors.NoSuchMailbox(), b"NONEXISTENT"),
        (errors.MailboxExists(), b"ALREADYEXISTS"),
        (errors.BadMailboxName(), b"CANNOT"),
        (errors.QuotaExceeded(), b"OVERQUOTA"),
        (errors.AccessDenied(), b"NOPERM"),
        (errors.TooBig(), b"TOOBIG"),
        (errors.InUse(), b"INUSE"),
        (errors.LimitReached(), b"LIMIT"),
        (errors.StoreUnavailable(), b"UNAVAILABLE"),
        (errors.StoreFull(), b"UNAVAILABLE"),
        (errors.TryLater(), b"UNAVAILABLE"),
        (errors.Refused("Not [this] way"), b"CANNOT"),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else type(value).__name__,
)
def test_rfc5530_an_expected_failure_has_its_response_code(error: errors.MailError, code: bytes) -> None:
    bed = Bed()
    client = login(bed)
    session = session_of(client)
    session.account = Hooked(session.account, {"create": raiser(error)})
    assert say(bed, client, b"a CREATE x") == b"a NO [%b] %b\r\n" % (code, error.text.encode())
    assert say(bed, client, b"b NOOP") == b"b OK NOOP completed\r\n"


def test_every_error_of_the_family_has_a_response_code() -> None:
    family = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MailError)]
    assert len(family) > 15
    for kind in family:
        assert code_of(kind("x")) in {code for _, code in CODES}


def test_a_store_that_cannot_write_can_still_be_read() -> None:
    """\\Seen is not set then, and not said to be set."""
    bed = Bed()
    bed.deliver(message(40))
    client = login(bed)
    bed.store.fail_with(errors.StoreUnavailable())
    assert say(bed, client, b"a FETCH 1 BODY[]").endswith(b")\r\na OK FETCH completed\r\n")
    assert say(bed, client, b"b FETCH 1 FLAGS") == b"* 1 FETCH (FLAGS (\\Recent))\r\nb OK FETCH completed\r\n"
    for command in (b"STORE 1 FLAGS ()", b"COPY 1 Trash", b"APPEND INBOX {3+}\r\nabc", b"CREATE x", b"DELETE Trash"):
        assert say(bed, client, b"c " + command).startswith(b"c NO [UNAVAILABLE] "), command
    bed.store.fail_with(None)
    assert b"OK" in say(bed, client, b"d STORE 1 FLAGS ()")


def test_what_nobody_foresaw_is_a_serverbug_with_an_incident() -> None:
    bed = Bed()
    client = login(bed)
    hook(client, changes=raiser(ZeroDivisionError()))
    said = say(bed, client, b"a NOOP")
    assert said.startswith(b"a NO [SERVERBUG] Internal error, incident ")
    assert b"\r\n* BYE [SERVERBUG] Internal error, incident " in said
    assert b"Zero" not in said and client.closed


def test_a_login_without_an_account_behind_it_is_refused() -> None:
    bed = Bed()
    client = bed.connect("imap")
    client.take()

    async def account(account_id: int) -> Any:
        raise errors.AccessDenied()

    bed.store.account = account  # type: ignore[method-assign]
    assert say(bed, client, b"a LOGIN me secret") == b"a NO [NOPERM] Access denied\r\n"
    assert say(bed, client, b"b SELECT INBOX") == b"b BAD Not authenticated\r\n"


def test_news_that_the_store_cannot_tell_is_told_later() -> None:
    bed = Bed()
    client = login(bed)
    box = hook(client, changes=raiser(errors.StoreUnavailable()))
    bed.deliver(message())
    assert say(bed, client, b"a NOOP") == b"a OK NOOP completed\r\n"
    box._hooks.clear()
    assert say(bed, client, b"b NOOP") == b"* 1 EXISTS\r\n* 1 RECENT\r\nb OK NOOP completed\r\n"


@pytest.mark.parametrize("items", [b"BODY.PEEK[]", b"ENVELOPE", b"RFC822.SIZE"])
def test_rfc5530_expungeissued_for_a_message_that_is_really_gone(items: bytes) -> None:
    bed = Bed()
    for subject in (b"one", b"two"):
        bed.deliver(message(30, subject))
    client = login(bed)
    box = inbox(bed)

    def facts(uids: Any, wanted: Any) -> list[Any]:
        found = list(bed.loop.run(box.facts(uids, wanted)))
        return [None if uid == 1 else known for uid, known in zip(uids, found)]

    def contents(uids: Any) -> list[Any]:
        found = bed.loop.run(box.contents(uids))
        return [None if uid == 1 else content for uid, content in zip(uids, found)]

    hook(client, facts=facts, contents=contents)
    said = say(bed, client, b"a FETCH 1:2 " + items)
    assert said.startswith(b"* 2 FETCH (")
    assert said.endswith(b"a NO [EXPUNGEISSUED] Some of the messages were expunged\r\n")
    said = say(bed, client, b"b UID FETCH 1:2 " + items)
    assert said.startswith(b"* 2 FETCH (") and said.endswith(b"b OK FETCH completed\r\n")
    assert say(bed, client, b"c UID SEARCH BODY 00000 SENTBEFORE 1-Jan-2000").endswith(b"OK SEARCH completed\r\n")


def test_recent_is_worth_no_failure() -> None:
    """The store cannot say who was told first: the news is told all the same."""
    bed = Bed()
    client = login(bed)
    hook(client, claim_recent=raiser(errors.StoreUnavailable()))
    bed.deliver(message())
    assert say(bed, client, b"a NOOP") == b"* 1 EXISTS\r\n* 0 RECENT\r\na OK NOOP completed\r\n"


def test_a_mailbox_that_cannot_be_selected_is_let_go() -> None:
    bed = Bed()
    client = login(bed)
    session = session_of(client)
    box = inbox(bed)
    released: list[bool] = []

    class Broken(Hooked):
        def release(self) -> None:
            released.append(True)

    session.account = Hooked(
        session.account, {"open": lambda name: Broken(box, {"state": raiser(errors.StoreUnavailable())})}
    )
    closed = b"* OK [CLOSED] The mailbox selected before is left\r\n"
    refused = closed + b"a NO [UNAVAILABLE] Mail store temporarily unavailable\r\n"
    assert say(bed, client, b"a SELECT INBOX") == refused
    assert released == [True]
    assert say(bed, client, b"b FETCH 1 FLAGS") == b"b BAD No mailbox selected\r\n"


def test_a_header_of_any_length_is_searched() -> None:
    bed = Bed()
    long = b"".join(b"X-%d: %b\r\n" % (at, b"y" * 70) for at in range(400))
    bed.deliver(long + b"Subject: needle\r\n\r\n" + b"hay\r\n" * 5000 + b"thread\r\n")
    client = login(bed)
    for query, found in (
        (b"SUBJECT needle", b" 1"), (b"SUBJECT hay", b""), (b"BODY thread", b" 1"), (b"TEXT thread", b" 1"),
        (b"BODY needle", b""), (b"OR SUBJECT nothing TEXT needle", b" 1"), (b"NOT BODY hay", b""),
    ):  # fmt: skip
        assert say(bed, client, b"a SEARCH " + query) == b"* SEARCH%b\r\na OK SEARCH completed\r\n" % found, query


# ---------------------------------------------------------------- long answers, slow clients


def test_marks_are_found_in_blocks_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """UNSEEN of SELECT, and what EXPUNGE takes, whatever the blocks: all of one, none of one, some across two."""
    monkeypatch.setattr(selected, "BLOCK", 3)
    bed = Bed()
    mailbox = inbox(bed)
    bed.loop.run(mailbox.append([NewMessage(MemoryContent(message())) for _ in range(12)]))
    bed.loop.run(mailbox.update(UidSet([(1, 7)]), FlagChange("add", frozenset([b"\\Seen"]))))
    bed.loop.run(mailbox.update(UidSet([(1, 3), (6, 7), (12, 12)]), FlagChange("add", frozenset([b"\\Deleted"]))))
    client = login(bed)
    assert b"[UNSEEN 8]" in say(bed, client, b"a SELECT INBOX")
    told = say(bed, client, b"b UID EXPUNGE 2:12")
    assert [int(line.split()[1]) for line in told.split(b"\r\n") if line.endswith(b"EXPUNGE")] == [12, 7, 6, 3, 2]
    say(bed, client, b"c EXPUNGE")
    assert mailbox.columns().uids == [4, 5, 8, 9, 10, 11]


def drink(bed: Bed, client: MemoryTransport, most: int) -> bytes:
    """Read as a slow client does; never may more than `most` octets wait for it."""
    out = []
    while True:
        assert len(client.output) <= most
        piece = client.take()
        bed.settle()
        if not piece:
            return b"".join(out)
        out.append(piece)


def test_long_bodies_go_at_the_pace_of_the_client_and_unchanged() -> None:
    bed = Bed()
    bodies = [message(size) for size in (300_000, 65_536, 65_537, 10, 150_000)]
    for body in bodies:
        bed.deliver(body)
    client = login(bed, window=50_000)
    client.send(b"a FETCH 1:* (BODY.PEEK[] BODY.PEEK[TEXT]<100000.100000>)\r\n")
    bed.settle()
    expected = b"".join(
        b"* %d FETCH (BODY[] {%d}\r\n%b BODY[TEXT]<100000> {%d}\r\n%b)\r\n"
        % (number, len(body), body, len(rest := body[14:][100_000:200_000]), rest)
        for number, body in enumerate(bodies, 1)
    )
    assert drink(bed, client, 50_000 + 3 * 65_536) == expected + b"a OK FETCH completed\r\n"


def test_many_flags_and_many_commands_do_not_pile_up() -> None:
    bed = Bed()
    box = inbox(bed)
    bed.deliver(message(10_000))
    bed.loop.run(box.copy(UidSet.of([1]), box.mailbox_id))
    for _ in range(11):
        bed.loop.run(box.copy(UidSet([(1, 1 << 20)]), box.mailbox_id))
    client = login(bed, window=30_000)
    client.send(b"a UID FETCH 1:* FLAGS\r\n")
    bed.settle()
    said = drink(bed, client, 30_000 + 160_000)
    assert said.count(b"FETCH (UID ") == 4096 and said.endswith(b"a OK FETCH completed\r\n")
    client.send(b"".join(b"a%d FETCH %d BODY.PEEK[]\r\n" % (at, at) for at in range(1, 301)))
    bed.settle()
    said = drink(bed, client, 30_000 + 160_000)
    assert said.count(b" OK FETCH completed\r\n") == 300 and len(said) > 3_000_000
    client.send(b"x FETCH 4000:4096,1:3000 RFC822.SIZE\r\n")
    bed.settle()
    said = drink(bed, client, 30_000 + 160_000)
    assert said.count(b"RFC822.SIZE 10000") == 3097 and said.endswith(b"x OK FETCH completed\r\n")
    client.send(b"b STORE 1:* FLAGS (\\Seen)\r\n")
    bed.settle()
    assert drink(bed, client, 30_000 + 160_000).count(b"\\Seen") == 4096
    client.send(b"c SEARCH ALL\r\n")
    bed.settle()
    said = drink(bed, client, 30_000 + 160_000)
    assert said == b"* SEARCH " + b" ".join(b"%d" % n for n in range(1, 4097)) + b"\r\nc OK SEARCH completed\r\n"


class Cut:
    """A content whose octets end after the first piece: a bad disk."""

    size = 200_000

    def __init__(self, short: bool) -> None:
        self.short = short
        self.closed = False

    async def read(self, offset: int, length: int) -> bytes:
        if offset:
            if self.short:
                return b"z" * (length - 1)
            raise errors.StoreUnavailable()
        return b"y" * length

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("short", [True, False])
def test_a_literal_that_cannot_be_ended_ends_the_connection(short: bool) -> None:
    """Anything said inside the literal would be taken for the message."""
    bed = Bed()
    bed.deliver(message())
    client = login(bed)
    content = Cut(short)
    hook(client, contents=lambda uids: [content])
    said = say(bed, client, b"a FETCH 1 BODY.PEEK[]")
    head = b"* 1 FETCH (BODY[] {200000}\r\n"
    assert said.startswith(head) and not said[len(head) :].strip(b"y")
    assert client.closed and content.closed


def test_a_short_section_that_cannot_be_read_is_refused_in_words() -> None:
    bed = Bed()
    bed.deliver(message())
    client = login(bed)
    hook(client, contents=lambda uids: [Cut(True)])
    said = say(bed, client, b"a FETCH 1 BODY.PEEK[]<100.2000>")
    assert said == b"a NO [UNAVAILABLE] Mail store temporarily unavailable\r\n"


def test_last_words_are_not_said_inside_a_literal() -> None:
    bed = Bed()
    bed.deliver(message(400_000))
    client = login(bed, window=20_000)
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    bed.settle()
    assert session_of(client).streaming
    client.protocol.dismiss("shutdown")
    assert client.closed and b"BYE" not in client.take()


@pytest.mark.parametrize(
    "why, words",
    [("idle", b"Idle for too long"), ("shutdown", b"Server shutting down"), ("input", b"Closing connection")],
)
def test_last_words_tell_why(why: str, words: bytes) -> None:
    bed = Bed()
    client = login(bed)
    client.protocol.dismiss(why)
    assert client.take() == b"* BYE " + words + b"\r\n" and client.closed


# ---------------------------------------------------------------- summaries


def test_a_summary_is_made_once_and_kept() -> None:
    bed = Bed()
    for subject in (b"one", b"two"):
        bed.deliver(message(30, subject))
    client = login(bed)
    read: list[Any] = []
    hook(client, contents=lambda uids: read.extend(uids))
    assert b'"one"' in say(bed, client, b"a FETCH 1 ENVELOPE")
    assert b'"two"' in say(bed, client, b"b FETCH 1:2 (BODYSTRUCTURE ENVELOPE)")
    assert b'"two"' in say(bed, client, b"c FETCH 1:2 ENVELOPE")
    assert read == [1, 2]


def test_summaries_that_cannot_be_kept_are_made_again() -> None:
    bed = Bed()
    bed.deliver(message(30, b"one"))
    client = login(bed)
    hook(client, keep_summaries=raiser(errors.StoreUnavailable()))
    for tag in (b"a", b"b"):
        said = say(bed, client, tag + b" FETCH 1 ENVELOPE")
        assert b'"one"' in said and said.endswith(b"OK FETCH completed\r\n")


def test_a_record_of_another_version_is_made_anew() -> None:
    bed = Bed()
    bed.deliver(message(30, b"one"))
    bed.loop.run(inbox(bed).keep_summaries([(1, b"ms\xffgarbage")]))
    client = login(bed)
    assert b'"one"' in say(bed, client, b"a FETCH 1 ENVELOPE")


# ---------------------------------------------------------------- other sessions, in the middle of a command


def test_silence_ends_where_another_session_was_at_the_message() -> None:
    """Between STORE's look at the flags and the store's change somebody else changes them: nothing is lost."""
    bed = Bed()
    for _ in range(3):
        bed.deliver(message())
    client = login(bed)
    other = inbox(bed)

    def update(*arguments: Any) -> None:
        box._hooks.clear()
        bed.loop.run(other.update(UidSet.of([1, 3]), FlagChange("add", frozenset([b"\\Flagged"]))))

    box = hook(client, update=update)
    assert say(bed, client, b"a STORE 1:2 +FLAGS.SILENT (\\Seen)") == (
        b"* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen \\Recent))\r\n"
        b"* 3 FETCH (UID 3 FLAGS (\\Flagged \\Recent))\r\n"
        b"a OK STORE completed\r\n"
    )
    assert say(bed, client, b"b NOOP") == b"b OK NOOP completed\r\n"


def test_seen_set_on_the_way_hides_no_other_change() -> None:
    bed = Bed()
    for _ in range(2):
        bed.deliver(b"Subject: x\r\n\r\nb\r\n")
    client = login(bed)
    other = inbox(bed)

    def update(*arguments: Any) -> None:
        box._hooks.clear()
        bed.loop.run(other.update(UidSet.of([1, 2]), FlagChange("add", frozenset([b"\\Flagged"]))))

    box = hook(client, update=update)
    assert say(bed, client, b"a FETCH 1 BODY[TEXT]") == (
        b"* 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent) BODY[TEXT] {3}\r\nb\r\n)\r\n"
        b"* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent))\r\n"
        b"a OK FETCH completed\r\n"
    )


def test_a_failed_fetch_still_tells_of_seen() -> None:
    """The block was marked, then could not be read: the flags are news like any other."""
    bed = Bed()
    bed.deliver(message())
    client = login(bed)
    hook(client, contents=raiser(errors.StoreUnavailable()))
    assert say(bed, client, b"a FETCH 1 BODY[]") == (
        b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))\r\na NO [UNAVAILABLE] Mail store temporarily unavailable\r\n"
    )


# ---------------------------------------------------------------- IDLE


def count_writes(client: MemoryTransport) -> list[bytes]:
    writes: list[bytes] = []
    write = client.write

    def counted(octets: bytes) -> None:
        writes.append(octets)
        write(octets)

    client.write = counted  # type: ignore[method-assign]
    return writes


def test_rfc2177_all_changes_of_one_turn_leave_in_one_write() -> None:
    bed = Bed()
    for _ in range(3):
        bed.deliver(message())
    client = login(bed)
    say(bed, client, b"a IDLE")
    writes = count_writes(client)
    other = inbox(bed)
    for uid in (1, 2):
        bed.loop.run(other.update(UidSet.of([uid]), FlagChange("add", frozenset([b"\\Seen"]))))
    bed.loop.run(other.expunge(UidSet.of([1])))
    assert writes == []
    bed.settle()
    assert writes == [b"* 1 EXPUNGE\r\n* 1 FETCH (UID 2 FLAGS (\\Seen \\Recent))\r\n"]


def test_rfc2177_a_client_that_does_not_read_is_told_the_sum_later() -> None:
    bed = Bed()
    bed.deliver(message())
    client = login(bed, window=1)
    say(bed, client, b"a IDLE")
    for _ in range(50):
        bed.deliver(message())
    assert client.output.count(b"EXISTS") <= 2
    assert drink(bed, client, 200).endswith(b"* 51 EXISTS\r\n* 51 RECENT\r\n")
    assert say(bed, client, b"DONE") == b"a OK IDLE completed\r\n"


def idle_over_a_slow_store(bed: Bed) -> MemoryTransport:
    """A client in IDLE with news under way that the store takes its time for."""
    bed.deliver(message())
    store = bed.store
    bed.store = SlowStore(store, bed.clock)  # type: ignore[assignment]
    client = login(bed)
    bed.store = store
    say(bed, client, b"a IDLE")
    session_of(client).selection.mailbox.delay = 1.0
    bed.loop.run(inbox(bed).update(UidSet.of([1]), FlagChange("add", frozenset([b"\\Seen"]))))
    bed.settle(0.5)
    assert session_of(client).idling.at_work is not None
    return client


def test_rfc2177_done_in_the_middle_of_the_news() -> None:
    bed = Bed()
    client = idle_over_a_slow_store(bed)
    assert say(bed, client, b"DONE\r\nb UNSELECT\r\nc NOOP") == b""
    bed.settle(1)
    bed.settle(1)
    assert client.take() == (
        b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))\r\n"
        b"a OK IDLE completed\r\nb OK UNSELECT completed\r\nc OK NOOP completed\r\n"
    )


def test_rfc2177_the_client_vanishes_in_the_middle_of_the_news() -> None:
    bed = Bed()
    client = idle_over_a_slow_store(bed)
    client.drop()
    assert session_of(client).selection is None and session_of(client).idling is None
    for _ in range(3):
        bed.settle(1)
    assert client.take() == b""


def test_a_bug_in_the_news_of_idle_ends_the_session_with_an_incident() -> None:
    bed = Bed()
    client = login(bed)
    hook(client, changes=raiser(ZeroDivisionError()))
    assert say(bed, client, b"a IDLE").startswith(b"a NO [SERVERBUG]")
    client = login(bed)
    say(bed, client, b"a IDLE")
    hook(client, changes=raiser(ZeroDivisionError()))
    bed.deliver(message())
    assert client.take().startswith(b"* BYE [SERVERBUG] Internal error, incident ") and client.closed


def test_rfc2177_what_comes_while_idle_begins_is_pushed() -> None:
    """Between the last look at the mailbox and the watch on it."""
    bed = Bed()
    client = login(bed)
    mine = inbox(bed)

    def changes(since: int) -> Any:
        box._hooks.clear()
        answer = bed.loop.run(mine.changes(since))
        bed.loop.run(mine.copy(UidSet.of([1]), mine.mailbox_id))
        return answer

    bed.deliver(message())
    box = hook(client, changes=changes)
    assert say(bed, client, b"a IDLE") == (
        b"* 1 EXISTS\r\n* 1 RECENT\r\n+ idling\r\n* 2 EXISTS\r\n* 2 RECENT\r\n"
    )


def test_rfc2177_done_in_the_same_turn_as_the_news() -> None:
    bed = Bed()
    bed.deliver(message())
    client = login(bed)
    say(bed, client, b"a IDLE")
    bed.loop.run(inbox(bed).expunge(UidSet.of([1])))
    client.send(b"DONE\r\n")
    assert client.take() == b"* 1 EXPUNGE\r\na OK IDLE completed\r\n"
    bed.settle()
    assert client.take() == b""


# ---------------------------------------------------------------- what is let go


@pytest.mark.parametrize("last", [b"a NOOP", b"a IDLE", b"a UNSELECT", b"a CLOSE", b"a SELECT Nothing", b"a LOGOUT"])
def test_a_session_that_is_gone_holds_no_mailbox(last: bytes) -> None:
    bed = Bed()
    bed.deliver(message())
    mine = inbox(bed)
    data = bed.store.mailbox(mine.mailbox_id)
    assert data is not None
    mine.release()
    client = login(bed)
    assert len(data.handles) == 1
    say(bed, client, last)
    client.drop()
    bed.settle()
    assert not data.handles and not data.watchers


@pytest.mark.parametrize("octets", [b"a APPEND INBOX {100}\r\n", b"a APPEND INBOX {9999+}\r\nabc", b"a AUTHENTICATE X"])
def test_a_client_that_vanishes_in_the_middle_leaves_nothing(octets: bytes) -> None:
    bed = Bed()
    bed.limit(memory_octets=1)
    client = bed.connect("imap")
    say(bed, client, b"l LOGIN me secret")
    client.send(octets)
    bed.settle()
    client.drop()
    bed.settle()
    mine = inbox(bed)
    data = bed.store.mailbox(mine.mailbox_id)
    assert data is not None and data.handles == {mine}
    assert not mine.columns().uids


def test_no_new_keywords_are_promised_when_there_is_no_room_rfc3501_section_7_1() -> None:
    bed = Bed()
    bed.deliver(message())
    client = login(bed)
    first, second = (b" ".join(b"k%d" % at for at in part) for part in (range(250), range(250, 500)))
    assert b"\\*)] Flags and new keywords" in say(bed, client, b"a STORE 1 FLAGS.SILENT (%b)" % first)
    full = say(bed, client, b"b STORE 1 +FLAGS.SILENT (%b)" % second)
    assert b" k499)] Flags and these keywords" in full and b"\\*" not in full
    assert say(bed, client, b"c STORE 1 +FLAGS.SILENT (more)").startswith(b"c NO [CANNOT] Too many keywords")
    assert say(bed, client, b"d STORE 1 FLAGS.SILENT (k7)") == b"d OK STORE completed\r\n"
