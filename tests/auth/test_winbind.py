"""The authenticator `winbind`: what is asked of ntlm_auth, and what becomes of its answers and failures.

The program here is a stand-in that says what a test wants; it was never tried against a domain.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.python.failure import Failure

from mailsrv.auth.winbind import MAX_ANSWER, MAX_RESPONSE, MAX_WAITING, REST_SECONDS, Options, build, question
from mailsrv.errors import AuthenticationFailed, MailError, TryLater
from mailsrv.parts import Place, read_table
from mailsrv.testing.authenticator_suite import CONTEXT, AuthenticatorContract, Subject
from mailsrv.values import Credentials

from .beds import Site

ANNA = Credentials("response", "EXAMPLE\\anna", challenge=b"12345678", response=b"\x01" * 24)
YES = b"Authenticated: Yes\n.\n"
#: With two dots, as ntlm_auth of Samba 4.17 says it.
NO = b"Authenticated: No\nAuthentication-Error: NT_STATUS_WRONG_PASSWORD (0xc000006a)\n.\n.\n"


class Process:
    """A process that writes nothing by itself; `says` is what it answers to each question (None: nothing yet)."""

    def __init__(self, protocol: Any, says: Any) -> None:
        self.protocol, self.says = protocol, says
        self.asked: list[bytes] = []
        self.killed = self.over = False
        protocol.makeConnection(self)

    def write(self, octets: bytes) -> None:
        """The helper asks."""
        self.asked.append(octets)
        answer = self.says(octets) if callable(self.says) else self.says
        for piece in answer or ():
            self.protocol.outReceived(piece)

    def signalProcess(self, name: str) -> None:
        """It is killed."""
        assert name == "KILL"
        if self.over:
            raise ProcessExitedAlready()
        self.killed = True

    def end(self) -> None:
        """It is gone."""
        self.over = True
        self.protocol.processEnded(Failure(ProcessDone(0)))


class Bed(Site):
    """Processes are started in `started`."""

    def __init__(self, base: Any = ".") -> None:
        super().__init__(base)
        self.started: list[Process] = []
        self.says: Any = [YES]
        self.failure: OSError | None = None
        self.reactor.spawnProcess = self.spawn  # type: ignore[attr-defined]
        self.part = self.make()

    def make(self, **options: Any) -> Any:
        """The part."""
        return build(read_table(Options, options, Place()), self)

    def spawn(self, protocol: Any, program: str, arguments: Any, env: Any) -> None:
        """IReactorProcess."""
        assert (program, arguments) == ("/usr/bin/ntlm_auth", [program, "--helper-protocol=ntlm-server-1"])
        if self.failure is not None:
            raise self.failure
        self.started.append(Process(protocol, self.says))

    def begin(self, credentials: Credentials = ANNA) -> Deferred[Any]:
        """A login that may wait."""
        return Deferred.fromCoroutine(self.part.authenticate(credentials, CONTEXT))

    def ask(self, credentials: Credentials = ANNA) -> Any:
        """The identity or None."""
        return self.loop.run(self.part.authenticate(credentials, CONTEXT))


@pytest.fixture
def bed() -> Iterator[Bed]:
    made = Bed()
    yield made
    made.hasher.close()


def outcome(attempt: Deferred[Any]) -> Any:
    """What it came to; the type of its failure."""
    found: list[Any] = []
    attempt.addBoth(found.append)
    return found[0].type if found and isinstance(found[0], Failure) else found[0] if found else "waits"


class TestWinbind(AuthenticatorContract):
    def make(self, tmp_path: Any) -> Subject:
        bed = Bed(tmp_path)
        right = b"NT-Response: " + ANNA.response.hex().encode()
        bed.says = lambda octets: [YES if right in octets and b"YW5uYQ==" in octets else NO]
        wrong = [Credentials("response", "anna", challenge=b"12345678", response=text) for text in (b"", b"\x02" * 24)]
        wrong += [Credentials("response", "anna", challenge=b"1", response=ANNA.response)]
        foreign = [Credentials("response", "FOREIGN\\anna", challenge=b"12345678", response=ANNA.response)]
        return Subject(bed.part, bed.loop, ANNA, wrong, foreign, disable=bed.disable, close=bed.close)


def test_what_is_asked_is_lines_in_which_no_sign_of_a_name_means_anything(bed: Bed) -> None:
    assert bed.ask().authcid == "anna@example.org"
    lines = bed.started[0].asked[0].decode().split("\n")
    assert lines[2:] == ["LANMAN-Challenge: 3132333435363738", "NT-Response: " + "01" * 24, ".", ""]
    assert [line.partition(":: ")[0] for line in lines[:2]] == ["Username", "NT-Domain"]
    assert [b64decode(line.partition(":: ")[2]) for line in lines[:2]] == [b"anna", b"EXAMPLE"]
    plain = question("jürgen: x@example.org", b"", b"").decode().split("\n")
    assert len(plain) == 5 and b64decode(plain[0].partition(":: ")[2]).decode() == "jürgen: x@example.org"


@pytest.mark.parametrize("pieces", [[YES], [YES[:5], YES[5:]], [bytes([octet]) for octet in YES]])
def test_an_answer_may_come_in_pieces(bed: Bed, pieces: list[bytes]) -> None:
    bed.says = pieces
    for _ in range(3):
        assert bed.ask() is not None
    assert len(bed.started) == 1, "it is kept running"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (NO, AuthenticationFailed),
        (b"Authenticated: No\nAuthentication-Error: NT_STATUS_ACCOUNT_DISABLED\n.\n", AuthenticationFailed),
        (b"Authenticated: No\n.\n", AuthenticationFailed),
        (b"Authenticated: No\nAuthentication-Error: Reading winbind reply failed! (0xc0000001)\n.\n", TryLater),
        (b"Authenticated: No\nAuthentication-Error: NT_STATUS_NO_LOGON_SERVERS\n.\n", TryLater),
        (b"Error: hex decode of NT-Response failed!\n.\n", TryLater),
        (b"Authenticated: No\nAuthentication-Error: Reading winbind reply failed!\n.\n.\n", TryLater),
        (b"authenticated yes\n.\n", TryLater),
    ],
)
def test_answers(bed: Bed, answer: bytes, expected: Any) -> None:
    bed.says = [answer]
    assert outcome(bed.begin()) is expected and bed.accounts() == []


@pytest.mark.parametrize("cut", range(1, 5))
def test_the_second_dot_of_a_refusal_is_nobodys_answer(bed: Bed, cut: int) -> None:
    bed.says = [NO[:-cut]]
    assert outcome(bed.begin()) is AuthenticationFailed or cut > 2
    (process,) = bed.started
    if cut > 2:
        process.protocol.outReceived(NO[-cut:])
    process.says = [NO[-cut:] if cut < 3 else b"", YES]
    assert bed.ask() is not None and bed.ask() is not None and not process.killed and len(bed.started) == 1


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_no_octets_of_a_helper_make_anything_but_an_answer(pieces: list[bytes]) -> None:
    bed = Bed()
    bed.says = pieces
    attempt = bed.begin()
    for process in bed.started:
        process.end()
    assert issubclass(outcome(attempt), MailError)


@pytest.mark.parametrize("answer", [YES + YES, YES + b"x", b"x" * (MAX_ANSWER + 1)])
def test_a_helper_that_says_too_much_is_ended(bed: Bed, answer: bytes) -> None:
    bed.says = [answer]
    attempt = bed.begin()
    assert bed.started[0].killed and outcome(attempt) == "waits"
    bed.started[0].end()
    bed.says = [YES]
    bed.reactor.advance(REST_SECONDS)
    assert bed.ask() is not None


def test_a_helper_that_speaks_unasked_is_ended(bed: Bed) -> None:
    assert bed.ask() is not None
    bed.started[0].protocol.outReceived(YES)
    assert bed.started[0].killed
    bed.started[0].end()
    bed.started[0].protocol.end()
    bed.reactor.advance(REST_SECONDS)
    assert bed.ask() is not None and len(bed.started) == 2


def test_questions_wait_in_turn_for_few_helpers(bed: Bed) -> None:
    bed.says = None
    attempts = [bed.begin() for _ in range(5)]
    assert len(bed.started) == 2 and [len(process.asked) for process in bed.started] == [1, 1]
    for number in (0, 1, 0, 0, 1):
        bed.started[number].protocol.outReceived(YES)
    assert [process.asked for process in bed.started] == [bed.started[0].asked[:1] * 3, bed.started[0].asked[:1] * 2]
    assert all(outcome(attempt).account_id == 1 for attempt in attempts)


def test_too_many_questions_and_no_answer_are_temporary_failures(bed: Bed) -> None:
    bed.says = None
    attempts = [bed.begin() for _ in range(MAX_WAITING + 3)]
    assert outcome(attempts.pop()) is TryLater
    assert not any(attempt.called for attempt in attempts)
    bed.reactor.advance(10.0)
    assert [outcome(attempt) for attempt in attempts] == [TryLater] * (MAX_WAITING + 2)
    assert [process.killed for process in bed.started] == [True, True]
    for process in bed.started:
        process.protocol.outReceived(YES)
        process.end()
    bed.says = [YES]
    bed.reactor.advance(REST_SECONDS)
    assert bed.ask() is not None and not bed.reactor.getDelayedCalls()


def test_a_program_that_ends_or_is_not_there_is_not_started_in_a_loop(bed: Bed) -> None:
    bed.says = None
    attempts = [bed.begin() for _ in range(3)]
    for process in bed.started:
        process.end()
    assert [outcome(attempt) for attempt in attempts] == [TryLater] * 3
    assert outcome(bed.begin()) is TryLater and len(bed.started) == 2
    bed.reactor.advance(REST_SECONDS)
    bed.failure = FileNotFoundError(2, "No such file or directory")
    assert outcome(bed.begin()) is TryLater and outcome(bed.begin()) is TryLater
    bed.failure, bed.says = None, [YES]
    bed.reactor.advance(REST_SECONDS)
    assert bed.ask() is not None and not bed.reactor.getDelayedCalls()


def test_close_ends_helpers_and_tells_who_waits(bed: Bed) -> None:
    bed.says = None
    attempts = [bed.begin() for _ in range(3)]
    bed.loop.run(bed.part.close())
    bed.loop.run(bed.part.close())
    for process in bed.started:
        assert process.killed
        process.end()
    assert [outcome(attempt) for attempt in attempts] == [TryLater] * 3
    assert outcome(bed.begin()) is TryLater and not bed.reactor.getDelayedCalls()


def test_complaints_of_a_helper_are_logged_bounded_once() -> None:
    from twisted.logger import globalLogPublisher

    bed, events = Bed(), []
    bed.ask()
    globalLogPublisher.addObserver(events.append)
    bed.started[0].protocol.errReceived(b"could not\nobtain " + b"x" * 5000)
    bed.started[0].protocol.errReceived(b"again")
    globalLogPublisher.removeObserver(events.append)
    (event,) = events
    assert event["text"].startswith("could not obtain x") and len(event["text"]) <= 200
    bed.hasher.close()


def test_a_response_that_is_too_long_is_not_asked_about(bed: Bed) -> None:
    with pytest.raises(AuthenticationFailed):
        bed.ask(Credentials("response", "anna", challenge=b"12345678", response=b"x" * (MAX_RESPONSE + 1)))
    assert bed.started == []
