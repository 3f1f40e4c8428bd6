"""NOTIFY where a conversation's text is not enough (RFC 5465): slow stores and clients, failures, what is let go."""

from __future__ import annotations

from typing import Any

import pytest
from imap_doubles import SlowStore
from test_imap_session import login, message, say, session_of

from mailsrv import errors
from mailsrv.message.content import MemoryContent
from mailsrv.serve.imap import notify
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import NewMessage

ALL = b"NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge MailboxName))"


def watching(bed: Bed, command: bytes = ALL) -> MemoryTransport:
    client = login(bed)
    assert say(bed, client, b"n " + command).endswith(b"n OK NOTIFY completed\r\n")
    return client


def watches(bed: Bed) -> int:
    return len(bed.store.noticed._all)


@pytest.mark.parametrize("end", [b"x LOGOUT", b"x UNAUTHENTICATE", b"x NOTIFY NONE", b""])
def test_nothing_is_watched_afterwards(end: bytes) -> None:
    bed = Bed()
    client = watching(bed)
    assert watches(bed) == 1 and bed.store.noticed._by_mailbox
    if end:
        say(bed, client, end)
    else:
        client.drop()
    assert watches(bed) == 0 and not bed.store.noticed._by_mailbox


def test_a_new_one_replaces_the_old_one_and_a_refused_one_does_not() -> None:
    bed = Bed()
    client = watching(bed)
    say(bed, client, b"a NOTIFY SET (PERSONAL (AnnotationChange MessageNew MessageExpunge))")
    assert watches(bed) == 1
    say(bed, client, b"b NOTIFY SET (PERSONAL (MailboxName))")
    assert watches(bed) == 1
    bed.deliver(message())
    assert client.take() == b""


def test_the_mailbox_that_is_selected_is_told_of_as_such_and_the_one_that_was_by_status() -> None:
    bed = Bed()
    client = watching(bed)
    say(bed, client, b"a SELECT Drafts")
    bed.deliver(message())
    assert client.take().startswith(b"* STATUS INBOX (MESSAGES 1 UIDNEXT 2 ")
    bed.deliver(message(), mailbox="Drafts")
    assert client.take() == b"* 1 EXISTS\r\n* 1 RECENT\r\n"
    say(bed, client, b"b UNSELECT")
    bed.deliver(message(), mailbox="Drafts")
    assert client.take().startswith(b"* STATUS Drafts (MESSAGES 2 UIDNEXT 3 ")


def test_what_happens_while_a_command_waits_is_told_after_it() -> None:
    bed = Bed()
    bed.deliver(message(10_000))
    client = watching(bed)
    client.send(b"a APPEND Drafts {5}\r\nab")
    bed.settle()
    bed.deliver(message(), mailbox="Junk")
    assert client.take() == b"+ OK\r\n"
    client.send(b"cde\r\n")
    bed.settle()
    told = client.take()
    assert told.startswith(b"a OK [APPENDUID ") and b"* STATUS Junk " in told and b"* STATUS Drafts " in told


def test_a_command_waits_for_what_is_being_told() -> None:
    bed = Bed()
    bed.store = SlowStore(bed.store, bed.clock)  # type: ignore[assignment]
    client = watching(bed)
    for number in range(3):
        _deliver(bed, "Junk")
        client.send(b"c%d NOOP\r\n" % number)
    bed.settle()
    told = client.take()
    assert told.count(b" OK NOOP completed\r\n") == 3 and b"* STATUS Junk (MESSAGES 3 " in told
    assert all(line.startswith((b"* ", b"c")) for line in told.split(b"\r\n")[:-1])


def _deliver(bed: Bed, mailbox: str) -> None:
    inner: Any = bed.store._inner  # type: ignore[attr-defined]
    box = bed.loop.run(bed.loop.run(inner.account(bed.accounts["me"])).open(mailbox))
    bed.loop.run(box.append([NewMessage(MemoryContent(message()))]))
    box.release()


def test_news_of_another_mailbox_is_never_told_inside_a_literal_in_idle() -> None:
    bed = Bed()
    client = login(bed, window=50_000)
    events = b"(SELECTED (MessageNew (BODY[]) MessageExpunge)) (PERSONAL (MessageNew MessageExpunge))"
    say(bed, client, b"n NOTIFY SET " + events)
    say(bed, client, b"i IDLE")
    bed.deliver(message(400_000))
    bed.deliver(message(), mailbox="Junk")
    out = b""
    for _ in range(50):
        out += client.take()
        bed.settle()
    literal = b"BODY[] {400000}\r\n" + message(400_000) + b")\r\n"
    told = out.replace(literal, b"", 1)
    assert len(told) == len(out) - len(literal), out[:200]
    assert b"* STATUS Junk (MESSAGES 1 " in told
    assert say(bed, client, b"DONE").endswith(b"i OK IDLE completed\r\n")


def test_what_cannot_be_told_ends_it_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    client = watching(bed)
    account: Any = session_of(client).account

    async def failing(name: str) -> None:
        raise errors.StoreUnavailable()

    account.status = failing
    bed.deliver(message(), mailbox="Junk")
    assert client.take().startswith(b"* OK [NOTIFICATIONOVERFLOW] ")
    assert watches(bed) == 0
    del account.status
    bed.deliver(message(), mailbox="Junk")
    assert client.take() == b""
    monkeypatch.setattr(notify, "MAX_MAILBOXES", 3)
    assert say(bed, client, b"n " + ALL).startswith(b"n NO [CANNOT] ")
    assert watches(bed) == 0


def test_too_many_annotations_at_once_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "MAX_ENTRIES", 2)
    bed = Bed()
    client = watching(bed, b"NOTIFY SET (PERSONAL (MailboxMetadataChange))")
    other = login(bed)
    say(bed, other, b"a SETMETADATA INBOX (/private/comment \"a\" /shared/comment \"b\")")
    assert client.take() == b"* METADATA INBOX /private/comment /shared/comment\r\n"
    say(bed, other, b"a SETMETADATA INBOX (/private/comment \"a\" /shared/comment \"b\" /shared/x \"c\")")
    assert client.take().startswith(b"* OK [NOTIFICATIONOVERFLOW] ")


def test_the_selected_mailbox_deleted_by_another_ends_the_session() -> None:
    bed = Bed()
    client = watching(bed)
    say(bed, client, b"a CREATE x")
    say(bed, client, b"b SELECT x")
    other = login(bed)
    say(bed, other, b"c DELETE x")
    say(bed, client, b"d NOOP")
    assert client.closed


def test_private_annotations_of_others_and_mailboxes_without_rights_are_not_told() -> None:
    bed = Bed()
    events = b"(MessageNew MessageExpunge MailboxName MailboxMetadataChange)"
    client = watching(bed, b'NOTIFY SET (SUBTREE "Other Users" %b)' % events)
    other = bed.connect("imap")
    for line in (b"l LOGIN you secret", b"a CREATE Work", b"b SETACL Work me lr"):
        say(bed, other, line)
    told = client.take()
    assert told.startswith(b'* LIST () "/" "Other Users/you@example.org/Work"\r\n* STATUS "Other Users/')
    say(bed, other, b"c APPEND Work {3+}\r\nabc")
    assert client.take().startswith(b'* STATUS "Other Users/you@example.org/Work" (MESSAGES 1 ')
    say(bed, other, b"d SETMETADATA Work (/private/comment \"a\")")
    assert client.take() == b""
    say(bed, other, b"e SETMETADATA Work (/shared/comment \"a\")")
    assert client.take() == b'* METADATA "Other Users/you@example.org/Work" /shared/comment\r\n'
    say(bed, other, b"f DELETEACL Work me")
    assert client.take() == b'* LIST (\\NonExistent) "/" "Other Users/you@example.org/Work"\r\n'
    say(bed, other, b"g APPEND Work {3+}\r\nabc")
    assert client.take() == b""


@pytest.mark.parametrize("more", [b"DONE\r\nz NOOP\r\n", b""])
def test_a_client_that_does_not_read_what_is_pushed_gets_it_and_its_answers_later(more: bytes) -> None:
    bed = Bed()
    client = login(bed, window=1000)
    say(bed, client, b"n NOTIFY SET (SELECTED (MessageNew (BODY[]) MessageExpunge)) (INBOXES NONE)")
    if more:
        say(bed, client, b"i IDLE")
    bed.deliver(message(200_000))
    client.send(more or b"z NOOP\r\n")
    bed.settle()
    out = b""
    for _ in range(20):
        out += client.take()
        bed.settle()
    assert out.endswith(b"z OK NOOP completed\r\n") and message(200_000) in out
