"""The authenticator `winbind`: NTLM responses, checked by a Windows domain through Samba's ntlm_auth (floor 2b).

``ntlm_auth --helper-protocol=ntlm-server-1`` is kept running and asked in turn.  This was tested against a stand-in for
that program, and against the program itself without a domain, never with one: treat it as untested.  It needs a host
that is a member of the domain, and the rights to winbindd's privileged pipe.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import AuthenticationFailed, ConfigError, TryLater
from ..interfaces import IAuthenticator
from ..parts import DURATION, FLAG, TEXT, option, whole
from ..values import AuthContext, Credentials, Identity
from .accounts import Accounts
from .names import login_address

log = Logger()

#: Questions that wait for a helper; octets of an NT response, and of a helper's answer.
MAX_WAITING, MAX_RESPONSE, MAX_ANSWER = 100, 4096, 16 * 2**10
CHALLENGE_OCTETS = 8
#: After a helper has failed none is started for so long; characters of its complaints that are logged.
REST_SECONDS, MAX_COMPLAINT = 1.0, 200
#: In these answers the domain has not judged the user.
_UNAVAILABLE = (
    "winbind", "NO_LOGON_SERVERS", "DOMAIN_CONTROLLER_NOT_FOUND", "IO_TIMEOUT", "CANT_ACCESS_DOMAIN_INFO",
    "PIPE_", "ACCESS_DENIED", "INVALID_COMPUTER_NAME", "NETLOGON_NOT_STARTED", "TRUSTED_RELATIONSHIP_FAILURE",
)  # fmt: skip


@frozen
class Options:
    """[auth.winbind]"""

    program: str = option(TEXT, "/usr/bin/ntlm_auth", "Samba's ntlm_auth")
    helpers: int = option(whole(1, 20), 2, "how many of it run at once")
    timeout: float = option(DURATION, 10.0, "an answer that takes longer is a temporary failure")
    create: bool = option(FLAG, True, "users of the domain get an account when they log in")


@implementer(IAuthenticator)
class WinbindAuthenticator:
    """Asks `helpers`; who somebody is in the store is for `accounts` to say."""

    schemes = frozenset({"response"})

    def __init__(self, helpers: Helpers, accounts: Accounts) -> None:
        self._helpers, self._accounts = helpers, accounts

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator; None for a name outside the local domains."""
        address = login_address(credentials.username, context.login_domain, context.domains)
        if await self._accounts.local(address) is None:
            return None
        challenge, response = credentials.challenge, credentials.response
        if len(challenge) != CHALLENGE_OCTETS or not 0 < len(response) <= MAX_RESPONSE:
            raise AuthenticationFailed()
        answer = await self._helpers.ask(question(credentials.username, challenge, response))
        if answer.get("Authenticated") != "Yes":
            reason = answer.get("Authentication-Error") or answer.get("Error", "")
            if any(word in reason for word in _UNAVAILABLE) or "Authenticated" not in answer:
                log.error("ntlm_auth cannot tell: {reason}", reason=reason[:MAX_COMPLAINT])
                raise TryLater()
            raise AuthenticationFailed()
        return await self._accounts.identity(address, credentials)

    async def close(self) -> None:
        """End the helpers."""
        self._helpers.close()


def question(username: str, challenge: bytes, response: bytes) -> bytes:
    """What is asked, in lines; names in base64, so that no sign of theirs means anything."""
    domain, slash, user = username.partition("\\")
    names = {"Username": user if slash else username, "NT-Domain": domain if slash else ""}
    lines = [f"{key}:: {b64encode(name.encode('utf-8')).decode('ascii')}" for key, name in names.items() if name]
    lines += [f"LANMAN-Challenge: {challenge.hex()}", f"NT-Response: {response.hex()}", ".", ""]
    return "\n".join(lines).encode("ascii")


@define(eq=False)
class _Question:
    """A question and who waits for its answer; `helper` works on it."""

    octets: bytes = field(repr=False)
    answer: Deferred[Mapping[str, str]] = field(factory=Deferred)
    timer: Any = None
    helper: _Helper | None = None


class Helpers:
    """Some processes of one program, each with one question at a time; the others wait in turn.

    A process is started when it is needed, and ended when it does not answer in time.
    """

    def __init__(self, reactor: Any, program: str, helpers: int = 2, timeout: float = 10.0) -> None:
        self._reactor, self._program, self._room, self._timeout = reactor, program, helpers, timeout
        self._all: set[_Helper] = set()
        self._idle: list[_Helper] = []
        self._waiting: deque[_Question] = deque()
        self._rest_until = 0.0
        self._closed = False

    async def ask(self, octets: bytes) -> Mapping[str, str]:
        """The fields of the answer.  Raises TryLater."""
        if self._closed or len(self._waiting) >= MAX_WAITING:
            raise TryLater()
        asked = _Question(octets)
        asked.timer = self._reactor.callLater(self._timeout, self._late, asked)
        self._waiting.append(asked)
        self._work()
        return await asked.answer

    def close(self) -> None:
        """End them all; who waits gets TryLater.  Idempotent."""
        self._closed = True
        waiting, self._waiting = self._waiting, deque()
        for asked in waiting:
            self._fail(asked)
        for helper in list(self._all):
            helper.end()

    # ------------------------------------------------------------ called by helpers

    def answered(self, helper: _Helper, asked: _Question, fields: Mapping[str, str]) -> None:
        """A helper is free again."""
        asked.timer.cancel()
        self._idle.append(helper)
        asked.answer.callback(fields)
        self._work()

    def ended(self, helper: _Helper, asked: _Question | None) -> None:
        """A helper is gone, perhaps with a question."""
        self._all.discard(helper)
        if helper in self._idle:
            self._idle.remove(helper)
        if not self._closed:
            log.error("{program} has ended", program=self._program)
        self._rest_until = self._reactor.seconds() + REST_SECONDS
        if asked is not None:
            self._fail(asked)
        # If nobody is left to work on them: a program that fails is not started in a loop.
        self._work()

    # ------------------------------------------------------------ inside

    def _work(self) -> None:
        while self._waiting and not self._closed:
            if not self._idle and not self._start():
                break
            self._idle.pop().ask(self._waiting.popleft())
        while self._waiting and not self._all:
            self._fail(self._waiting.popleft())

    def _start(self) -> bool:
        """Another process, if there is room and none has just failed."""
        if len(self._all) >= self._room or self._reactor.seconds() < self._rest_until:
            return False
        helper = _Helper(self)
        self._all.add(helper)
        self._idle.append(helper)
        arguments = [self._program, "--helper-protocol=ntlm-server-1"]
        try:
            self._reactor.spawnProcess(helper, self._program, arguments, env={"PATH": "/usr/bin:/bin"})
        except OSError as error:
            log.error("{program} cannot be started: {reason}", program=self._program, reason=error.strerror)
            self._all.discard(helper)
            self._idle.remove(helper)
            self._rest_until = self._reactor.seconds() + REST_SECONDS
            return False
        return True

    def _late(self, asked: _Question) -> None:
        if asked.helper is not None:
            # It would answer the next question with this one's answer.
            asked.helper.end()
        else:
            self._waiting.remove(asked)
        log.error("{program} did not answer in {seconds} s", program=self._program, seconds=self._timeout)
        self._fail(asked)

    def _fail(self, asked: _Question) -> None:
        if asked.timer.active():
            asked.timer.cancel()
        if not asked.answer.called:
            asked.answer.errback(TryLater())


class _Helper(ProcessProtocol):
    """One process."""

    transport: Any

    def __init__(self, helpers: Helpers) -> None:
        self._helpers = helpers
        self._asked: _Question | None = None
        self._buffer = b""
        self._complained = False

    def ask(self, asked: _Question) -> None:
        """Put the question; nothing else is asked before its answer."""
        self._asked, asked.helper = asked, self
        self.transport.write(asked.octets)

    def end(self) -> None:
        """Kill it."""
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def outReceived(self, data: bytes) -> None:
        """Lines of fields, to one with a dot."""
        self._buffer += data
        # QUIRK: ntlm_auth (Samba 4.17) ends a refusal with two dots, the second perhaps after the next question.
        while self._buffer.startswith(b".\n"):
            self._buffer = self._buffer[2:]
        asked, end = self._asked, self._buffer.find(b"\n.\n") + 1
        rest = self._buffer[end + 2 :] if end else b""
        if len(self._buffer) > MAX_ANSWER or rest.strip(b".\n") or (asked is None and self._buffer not in (b"", b".")):
            # More than was asked for: whose answer that is nobody knows.
            self.end()
        elif asked is not None and end:
            text, self._buffer, self._asked = self._buffer[:end], rest, None
            if not asked.answer.called:
                self._helpers.answered(self, asked, _fields(text))

    def errReceived(self, data: bytes) -> None:
        """What it complains of; the first words of each process are logged."""
        if not self._complained:
            self._complained = True
            text = data[:MAX_COMPLAINT].decode("utf-8", "replace")
            log.warn("ntlm_auth says: {text}", text=" ".join(text.split()))

    def processEnded(self, reason: Any) -> None:
        """Twisted: it is gone."""
        asked, self._asked = self._asked, None
        self._helpers.ended(self, asked)


def _fields(octets: bytes) -> dict[str, str]:
    """``Key: value`` lines."""
    lines = octets.decode("utf-8", "replace").split("\n")
    return {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}


def build(options: Options, site: Any) -> WinbindAuthenticator:
    """The part; `site` has `directory` and `reactor`.  Raises ConfigError."""
    try:
        accounts = Accounts(site.directory, options.create)
    except ConfigError as error:
        raise ConfigError(error.text, key="auth.winbind.create") from error
    return WinbindAuthenticator(Helpers(site.reactor, options.program, options.helpers, options.timeout), accounts)
