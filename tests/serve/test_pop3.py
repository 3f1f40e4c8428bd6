"""POP3 sessions where a conversation as text is not enough: big, slow, broken, concurrent."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.errors import QuotaExceeded, StoreUnavailable
from mailsrv.message.content import MemoryContent
from mailsrv.numbers import UidSet
from mailsrv.serve import maildrop
from mailsrv.serve.pop3 import SLICE
from mailsrv.serve.pop3_base import RESPONSE_OCTETS, code_of, line
from mailsrv.store.memory_mailbox import MemoryMailbox
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import NewMessage
from mailsrv.wire.pop3 import SLACK_OCTETS

LOGIN = b"USER me\r\nPASS secret\r\n"


def fill(bed: Bed, messages: list[bytes], local: str = "me") -> Any:
    """The open INBOX, after these were appended."""
    account = bed.loop.run(bed.store.account(bed.accounts[local]))
    box = bed.loop.run(account.open("INBOX"))
    bed.loop.run(box.append([NewMessage(MemoryContent(octets)) for octets in messages]))
    return box


def connect(bed: Bed, window: int = 1 << 30) -> MemoryTransport:
    """A logged-in client that has read everything."""
    client = bed.connect("pop3", window=window)
    greeting = client.take()
    client.send(LOGIN)
    bed.settle()
    # A small window is full after each answer.
    answers = greeting + b"".join(iter(client.take, b""))
    assert answers.count(b"+OK") == 3
    return client


def connection_of(client: MemoryTransport) -> Any:
    """The server's end."""
    return client.protocol


def say(bed: Bed, client: MemoryTransport, octets: bytes) -> bytes:
    """What is answered, read as fast as it comes."""
    client.send(octets)
    out = b""
    while True:
        bed.settle()
        more = client.take()
        if not more:
            return out
        out += more


def message(number: int, octets: int) -> bytes:
    """A message of that many octets with dots at the beginning of lines."""
    head = b"Subject: %d\r\n\r\n" % number
    body = b".%d\r\n..\r\nsome text\r\n" % number
    return (head + body * (octets // len(body) + 1))[: octets - 2] + b"\r\n"


def unstuffed(octets: bytes) -> bytes:
    """A multi-line response's content."""
    first, _, rest = octets.partition(b"\r\n")
    assert first.startswith(b"+OK") and rest.endswith(b".\r\n")
    return (b"\r\n" + rest[:-3]).replace(b"\r\n..", b"\r\n.")[2:]


@pytest.mark.parametrize("size", [100, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE, 5 * SLICE + 17])
def test_retr_gives_exactly_what_was_stored_at_any_size(size: int) -> None:
    bed = Bed()
    octets = message(1, size)
    fill(bed, [octets])
    client = connect(bed)
    answer = say(bed, client, b"RETR 1\r\n")
    assert answer.startswith(b"+OK %d octets\r\n" % size) and unstuffed(answer) == octets
    assert unstuffed(say(bed, client, b"TOP 1 99999999\r\n")) == octets
    head, _, body = octets.partition(b"\r\n\r\n")
    two = b"\r\n".join(body.split(b"\r\n")[:2])
    assert unstuffed(say(bed, client, b"TOP 1 2\r\n")) == head + b"\r\n\r\n" + two + b"\r\n"


def test_an_empty_message_can_be_retrieved() -> None:
    bed = Bed()
    fill(bed, [b""])
    assert say(bed, connect(bed), b"RETR 1\r\nTOP 1 5\r\n") == (
        b"+OK 0 octets\r\n.\r\n+OK Top of message follows\r\n.\r\n"
    )


class Watched:
    """Content that tells of reads and closes, and can be read up to `good` slices only."""

    def __init__(self, inner: Any, uid: int, watch: Watch) -> None:
        self.inner, self.uid, self.size, self.watch = inner, uid, inner.size, watch

    async def read(self, offset: int, length: int) -> bytes:
        """See IContent."""
        if offset // SLICE >= self.watch.good:
            raise StoreUnavailable()
        self.watch.offsets.append(offset)
        octets: bytes = await self.inner.read(offset, length)
        return octets

    def close(self) -> None:
        """See IContent."""
        self.watch.closed.append(self.uid)


class Watch:
    """Watches all contents of the store from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, good: int = 1 << 30) -> None:
        self.offsets: list[int] = []
        self.closed: list[int] = []
        self.good = good
        contents = MemoryMailbox.contents

        async def watched(box: Any, uids: Any) -> Any:
            return [Watched(content, uid, self) for content, uid in zip(await contents(box, uids), uids)]

        monkeypatch.setattr(MemoryMailbox, "contents", watched)


def test_top_of_a_big_message_reads_no_more_than_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [message(1, 20 * SLICE)])
    client = connect(bed)
    watch = Watch(monkeypatch)
    assert unstuffed(say(bed, client, b"TOP 1 3\r\n")).count(b"\r\n") == 5
    assert (watch.offsets, watch.closed) == ([0], [1])


def test_a_slow_peer_bounds_what_is_held_for_it() -> None:
    bed = Bed()
    bed.limit(output_octets=64 * 1024)
    fill(bed, [message(n, 10_000) for n in range(200)] + [message(200, 40 * SLICE)])
    client = connect(bed, window=10_000)
    client.send(b"".join(b"RETR %d\r\n" % n for n in range(1, 202)))
    most, total = 0, b""
    while True:
        bed.settle()
        most = max(most, len(client.output))
        more = client.take()
        if not more:
            break
        total += more
    assert total.count(b"+OK ") == 201 and len(total) > 200 * 10_000 + 40 * SLICE
    # One drain's worth, and the answer that went over it.
    assert most <= 64 * 1024 + 2 * SLICE


def test_listings_of_many_messages_come_in_bounded_blocks_and_in_full() -> None:
    bed = Bed()
    bed.limit(output_octets=64 * 1024)
    box = fill(bed, [b"%d" % n for n in range(5001)])
    client = connect(bed, window=1)
    client.send(b"DELE 2\r\nDELE 5001\r\nUIDL\r\nLIST\r\n")
    most, total = 0, b""
    while True:
        bed.settle()
        most = max(most, len(client.output))
        more = client.take()
        if not more:
            break
        total += more
    assert most < 64 * 1024 + 2000 * 30
    lines = total.split(b"\r\n")
    ids = lines[3 : lines.index(b".")]
    uids = box.columns().uids
    expected = [n for n in range(1, 5001) if n != 2]
    assert ids == [b"%d %08x%08x" % (n, box.uidvalidity, uids[n - 1]) for n in expected]
    sizes = lines[lines.index(b".") + 2 : -2]
    assert sizes == [b"%d %d" % (n, len(b"%d" % (n - 1))) for n in expected]


def test_the_answers_to_one_and_to_all_agree() -> None:
    bed = Bed()
    fill(bed, [b"x" * n for n in range(30)])
    client = connect(bed)
    for verb in (b"LIST", b"UIDL"):
        every = say(bed, client, verb + b"\r\n").split(b"\r\n")[1:-2]
        single = [say(bed, client, verb + b" %d\r\n" % n) for n in range(1, 31)]
        assert single == [b"+OK " + entry + b"\r\n" for entry in every]


def test_unique_ids_are_the_same_in_the_next_session_and_never_come_back() -> None:
    bed = Bed()
    fill(bed, [b"a", b"b", b"c"])
    client = connect(bed)
    first = say(bed, client, b"UIDL\r\n").split(b"\r\n")[1:-2]
    say(bed, client, b"DELE 1\r\nDELE 3\r\nQUIT\r\n")
    fill(bed, [b"d"])
    second = say(bed, connect(bed), b"UIDL\r\n").split(b"\r\n")[1:-2]
    assert second[0].split()[1] == first[1].split()[1]
    assert second[1].split()[1] not in {entry.split()[1] for entry in first}


class Counted:
    """Counts the store's calls of one method."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.calls: list[Any] = []
        real = getattr(MemoryMailbox, name)

        async def counted(box: Any, *arguments: Any) -> Any:
            self.calls.append(arguments[0])
            return await real(box, *arguments)

        monkeypatch.setattr(MemoryMailbox, name, counted)


def test_retrieving_in_order_asks_the_store_once_for_fifty(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [message(n, 200) for n in range(200)])
    client = connect(bed)
    contents = Counted(monkeypatch, "contents")
    for n in range(1, 201):
        answer = say(bed, client, b"RETR %d\r\nDELE %d\r\n" % (n, n))
        assert unstuffed(answer.removesuffix(b"+OK Marked\r\n")) == message(n - 1, 200)
    assert [len(uids) for uids in contents.calls] == [50] * 4


def test_rfc6856_how_much_headers_grow_in_ascii_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    for n in range(3):
        bed.deliver("Subject: Grüße\r\n\r\nschön\r\n".encode(), utf8=n > 0)
    contents = Counted(monkeypatch, "contents")
    stat = say(bed, connect(bed), b"STAT\r\nQUIT\r\n")
    assert len(contents.calls) == 2
    client = connect(bed)
    assert say(bed, client, b"STAT\r\n") + b"+OK Goodbye\r\n" == stat and len(contents.calls) == 2
    sizes = [len(unstuffed(say(bed, client, b"RETR %d\r\n" % number))) for number in (1, 2, 3)]
    assert stat.startswith(b"+OK 3 %d\r\n" % sum(sizes)) and sizes[0] < sizes[1] == sizes[2]


def test_retrieving_out_of_order_opens_only_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [message(n, 200) for n in range(100)])
    client = connect(bed)
    contents = Counted(monkeypatch, "contents")
    for n in (100, 50, 7, 7, 3):
        assert unstuffed(say(bed, client, b"RETR %d\r\n" % n)) == message(n - 1, 200)
    assert [len(uids) for uids in contents.calls] == [1] * 5


def test_what_was_opened_ahead_is_closed_and_the_handle_released(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [message(n, 200) for n in range(100)])
    closed = Watch(monkeypatch).closed
    released = []
    release = MemoryMailbox.release
    monkeypatch.setattr(MemoryMailbox, "release", lambda self: (released.append(self), release(self))[1])
    client = connect(bed)
    say(bed, client, b"RETR 1\r\nRETR 2\r\nTOP 3 0\r\n")
    assert closed == [1, 2, 3]
    client.drop()
    assert sorted(closed) == list(range(1, maildrop.LOOK_AHEAD + 1)) and len(released) == 1


def test_what_another_session_expunged_can_still_be_retrieved() -> None:
    bed = Bed()
    box = fill(bed, [message(n, 300) for n in range(3)])
    client = connect(bed)
    bed.loop.run(box.expunge(UidSet([(1, 3)])))
    assert unstuffed(say(bed, client, b"RETR 2\r\n")) == message(1, 300)
    assert say(bed, client, b"STAT\r\n") == b"+OK 3 900\r\n"
    assert say(bed, client, b"DELE 2\r\nQUIT\r\n") == b"+OK Marked\r\n+OK Goodbye\r\n"


def test_a_message_that_is_gone_for_good_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [b"a", b"b"])
    client = connect(bed)

    async def gone(self: Any, uids: Any) -> list[None]:
        return [None] * len(uids)

    monkeypatch.setattr(MemoryMailbox, "contents", gone)
    assert say(bed, client, b"RETR 1\r\nTOP 2 1\r\nNOOP\r\n") == b"-ERR No such message\r\n" * 2 + b"+OK\r\n"


def test_messages_gone_while_listing_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [b"a", b"bb", b"ccc"])
    sizes = MemoryMailbox.sizes

    async def one_gone(self: Any, uids: Any) -> list[int]:
        return [-1 if uid == 2 else size for uid, size in zip(uids, await sizes(self, uids))]

    monkeypatch.setattr(MemoryMailbox, "sizes", one_gone)
    client = connect(bed)
    assert say(bed, client, b"LIST\r\nUIDL 2\r\n").split(b"\r\n")[1:3] == [b"1 1", b"2 3"]
    assert b"ccc" in say(bed, client, b"RETR 2\r\n")


def test_a_failed_commit_at_quit_is_told_and_nothing_is_lost() -> None:
    bed = Bed()
    fill(bed, [b"a", b"b"])
    client = connect(bed)
    bed.store.fail_with(StoreUnavailable())
    answer = say(bed, client, b"DELE 1\r\nQUIT\r\n")
    assert answer == b"+OK Marked\r\n-ERR [SYS/TEMP] Some deleted messages were not removed\r\n"
    assert client.closed
    bed.store.fail_with(None)
    assert say(bed, connect(bed), b"STAT\r\n") == b"+OK 2 2\r\n"


def test_deletions_are_one_commit_and_over_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    box = fill(bed, [b"%d" % n for n in range(20)])
    client = connect(bed)
    waiting: list[Deferred[None]] = []
    calls: list[UidSet] = []
    expunge = MemoryMailbox.expunge

    async def slow(self: Any, uids: UidSet, whole: bool) -> UidSet:
        calls.append(uids)
        waiting.append(Deferred())
        await waiting[0]
        return await expunge(self, uids, whole)

    monkeypatch.setattr(MemoryMailbox, "expunge", slow)
    say(bed, client, b"".join(b"DELE %d\r\n" % n for n in range(1, 21, 2)))
    assert say(bed, client, b"QUIT\r\n") == b"" and not client.closed
    other = bed.connect("pop3")
    assert b"[IN-USE]" in say(bed, other, LOGIN)
    waiting[0].callback(None)
    assert say(bed, client, b"") == b"+OK Goodbye\r\n" and client.closed
    assert calls == [UidSet.of(range(1, 21, 2))] and box.columns().uids == list(range(2, 21, 2))
    assert b"+OK 10 messages" in say(bed, other, LOGIN)


def test_a_peer_that_vanishes_during_quit_still_has_its_deletions(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    box = fill(bed, [b"a", b"b"])
    client = connect(bed)
    waiting: Deferred[None] = Deferred()
    expunge = MemoryMailbox.expunge

    async def slow(self: Any, uids: UidSet, whole: bool) -> UidSet:
        await waiting
        return await expunge(self, uids, whole)

    monkeypatch.setattr(MemoryMailbox, "expunge", slow)
    say(bed, client, b"DELE 1\r\nQUIT\r\n")
    client.drop()
    assert bed._maildrops == {bed.accounts["me"]}
    waiting.callback(None)
    bed.settle()
    assert box.columns().uids == [2] and bed._maildrops == set()


@pytest.mark.parametrize("how", ["drop", "half_close"])
def test_without_quit_nothing_is_deleted_and_the_maildrop_is_free(how: str) -> None:
    bed = Bed()
    box = fill(bed, [b"a", b"b"])
    client = connect(bed)
    say(bed, client, b"DELE 1\r\nQUIT")
    getattr(client, how)()
    bed.settle()
    assert client.closed and box.columns().uids == [1, 2] and bed._maildrops == set()


def test_a_message_that_cannot_be_read_is_a_temporary_error(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [message(1, 300)])
    client = connect(bed)
    Watch(monkeypatch, good=0)
    expected = b"-ERR [SYS/TEMP] Mail store temporarily unavailable\r\n"
    assert say(bed, client, b"RETR 1\r\nTOP 1 1\r\nNOOP\r\n") == expected * 2 + b"+OK\r\n"


def test_a_message_that_breaks_off_never_looks_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [message(1, 3 * SLICE)])
    client = connect(bed)
    watch = Watch(monkeypatch, good=2)
    answer = say(bed, client, b"RETR 1\r\nNOOP\r\n")
    assert client.closed and bed._maildrops == set()
    assert len(answer) > SLICE and not answer.endswith(b"\r\n.\r\n") and b"ERR" not in answer
    assert watch.closed == [1]


def test_last_words_do_not_get_into_a_half_written_answer() -> None:
    bed = Bed()
    bed.limit(output_octets=1000)
    fill(bed, [b"x"] * 9000)
    client = connect(bed, window=1000)
    client.send(b"UIDL\r\n")
    bed.settle()
    connection_of(client).dismiss("shutdown")
    assert client.closed and b"ERR" not in client.output
    other = bed.connect("pop3")
    connection_of(other).dismiss("shutdown")
    assert other.take().endswith(b"-ERR [SYS/TEMP] The server is going down, nothing was deleted\r\n")


def test_an_unforeseen_failure_is_told_as_temporary_with_an_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [b"a"])
    client = connect(bed)

    async def bug(self: Any, uids: Any) -> Any:
        raise KeyError("a secret detail")

    monkeypatch.setattr(MemoryMailbox, "contents", bug)
    answer = say(bed, client, b"RETR 1\r\n")
    assert answer.startswith(b"-ERR [SYS/TEMP] Internal error, incident ") and b"secret" not in answer
    assert client.closed and bed._maildrops == set()


@pytest.mark.parametrize("broken", ["account", "open", "sizes"])
def test_a_maildrop_that_cannot_be_opened_is_not_held(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    bed = Bed()
    fill(bed, [b"a"])

    async def unavailable(*arguments: Any) -> Any:
        raise StoreUnavailable()

    with monkeypatch.context() as patched:
        if broken == "account":
            patched.setattr(bed.store, "account", unavailable)
        elif broken == "open":
            patched.setattr(type(bed.loop.run(bed.store.account(1))), "open", unavailable)
        else:
            patched.setattr(MemoryMailbox, "sizes", unavailable)
        client = bed.connect("pop3")
        client.take()
        assert say(bed, client, LOGIN).endswith(b"-ERR [SYS/TEMP] Mail store temporarily unavailable\r\n")
        assert say(bed, client, b"STAT\r\n") == b"-ERR Not before login\r\n"
    assert bed._maildrops == set()
    assert say(bed, client, LOGIN).endswith(b"+OK 1 messages (1 octets)\r\n")


def test_an_account_that_is_gone_is_a_permanent_error() -> None:
    bed = Bed()
    client = bed.connect("pop3")
    client.take()

    async def refused(account_id: int) -> Any:
        from mailsrv.errors import AccessDenied

        raise AccessDenied()

    bed.store.account = refused  # type: ignore[method-assign,assignment]
    assert say(bed, client, LOGIN).endswith(b"-ERR [SYS/PERM] Access denied\r\n")


def test_a_peer_that_vanishes_while_its_listing_is_made_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    fill(bed, [b"a"])
    waiting: Deferred[None] = Deferred()
    sizes = MemoryMailbox.sizes

    async def slow(self: Any, uids: Any) -> Any:
        await waiting
        return await sizes(self, uids)

    monkeypatch.setattr(MemoryMailbox, "sizes", slow)
    client = bed.connect("pop3")
    client.send(LOGIN)
    client.drop()
    assert bed._maildrops == {1}
    waiting.callback(None)
    bed.settle()
    assert bed._maildrops == set() and not bed.server("pop3").sessions()


def test_too_much_input_ends_the_connection() -> None:
    bed = Bed()
    client = connect(bed)
    answer = say(bed, client, b"x" * 100_000)
    assert answer == b"-ERR Line too long\r\n-ERR Too much input\r\n" and client.closed


def test_too_much_input_in_an_exchange_ends_the_connection() -> None:
    bed = Bed()
    client = bed.connect("pop3")
    client.take()
    say(bed, client, b"AUTH LOGIN\r\n")
    assert say(bed, client, b"A" * 20_000) == b"-ERR Line too long\r\n"
    assert say(bed, client, b"A" * 60_000) == b"-ERR Too much input\r\n" and client.closed


def test_mistakes_in_exchanges_are_counted_too() -> None:
    bed = Bed()
    bed.limit(bad_commands=3)
    client = bed.connect("pop3")
    client.take()
    for n in range(3):
        assert not client.closed, n
        say(bed, client, b"AUTH PLAIN\r\n?\r\n")
    assert client.closed


def test_many_pipelined_commands_let_others_go_first() -> None:
    bed = Bed()
    client = connect(bed)
    turns = 0
    real = bed.server("pop3").call_soon

    def call_soon(*arguments: Any) -> None:
        nonlocal turns
        turns += 1
        real(*arguments)

    bed.server("pop3").call_soon = call_soon  # type: ignore[method-assign]
    now = [0.0]

    def monotonic() -> float:
        now[0] += 0.01
        return now[0]

    bed.server("pop3").monotonic = monotonic  # type: ignore[method-assign]
    assert say(bed, client, b"NOOP\r\n" * 640) == b"+OK\r\n" * 640
    assert turns >= 10


def test_rfc2449_section_8_codes_and_lines_that_cannot_be_broken_out_of() -> None:
    assert code_of(QuotaExceeded()) == "[SYS/PERM] "
    assert line("a\r\n+OK injected\0ü\u2028") == b"a  +OK injected \\xfc \r\n"
    assert len(line("x" * 2000)) == RESPONSE_OCTETS + 2


def test_a_session_of_ten_thousand_messages_holds_their_sizes_and_one_octet_for_each_deletion() -> None:
    bed = Bed()
    box = fill(bed, [b"x"] * 10_000)
    client = connect(bed)
    drop = connection_of(client).session.drop
    assert drop.uids is box.columns().uids and drop.sizes.itemsize * len(drop.sizes) == 40_000
    assert say(bed, client, b"".join(b"DELE %d\r\n" % n for n in range(1, 10_001))) == b"+OK Marked\r\n" * 10_000
    assert len(drop._marks) == 10_000 and say(bed, client, b"STAT\r\nDELE 7\r\n") == (
        b"+OK 0 0\r\n-ERR No such message\r\n"
    )


def test_the_session_is_listed_with_its_user() -> None:
    bed = Bed()
    client = bed.connect("pop3")
    assert [info.user for info in bed.server("pop3").sessions()] == [""]
    client.send(LOGIN)
    assert [info.user for info in bed.server("pop3").sessions()] == ["me@example.org"]
    assert connection_of(client).session.identity.mechanism == "USER"


def test_what_had_to_be_dropped_is_not_taken_for_an_answer() -> None:
    bed = Bed()
    bed.limit(failed_login_delay=1.0)
    client = bed.connect("pop3")
    client.send(b"USER me\r\nPASS wrong\r\n")
    bound = bed.limits.pending_octets + SLACK_OCTETS
    last = b"AUTH PLAIN\r\n"
    noise = b"CAPA\r\n" * ((bound - len(last) - 8) // 6)
    # Read in one go while the refusal is waited for: its end does not fit.
    client.send(noise + last + b"A" * 100 + b"\r\n")
    bed.settle(1.0)
    answer = say(bed, client, b"")
    assert answer.endswith(b"+ \r\n-ERR Too much input\r\n") and client.closed
