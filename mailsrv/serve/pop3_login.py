"""POP3 before login (floor 3): RFC 1939 AUTHORIZATION state, RFC 2449, RFC 2595, RFC 5034."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import AuthenticationFailed, InUse, Refused
from ..values import Credentials, Identity
from ..wire import pop3_events as e
from ..wire.pop3 import TRANSACTION
from .maildrop import Maildrop
from .pop3_base import Pop3Base


class Pop3Login(Pop3Base):
    """What a POP3 session does without a maildrop, and how it comes by one."""

    async def capa(self, event: e.Capa) -> None:
        """RFC 2449: what is there now."""
        tags = [b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"EXPIRE NEVER"]
        if self.engine.state != TRANSACTION and not self.connection.secure and self.services.tls_available:
            tags.append(b"STLS")
        # In both states: RFC 2449 section 6.2 allows no difference.
        if not self.refused_password():
            tags.append(b"USER")
        mechanisms = self.offered_mechanisms()
        if mechanisms:
            tags.append(b"SASL " + " ".join(mechanisms).encode("ascii"))
        tags.append(b"IMPLEMENTATION mailsrv")
        self.say(b"+OK Capabilities follow\r\n" + b"\r\n".join(tags) + b"\r\n.\r\n")

    async def stls(self, event: e.Stls) -> None:
        """RFC 2595 section 4."""
        if self.connection.secure or not self.services.tls_available:
            self.engine.resume()
            self.say(b"-ERR TLS is active already\r\n" if self.connection.secure else b"-ERR No TLS here\r\n")
            return
        self.user_name = ""
        self.say(b"+OK Begin TLS now\r\n")
        self.connection.start_tls()

    def _no_password(self, reason: str) -> bytes:
        if reason == "tls":
            return b"-ERR Passwords are taken under TLS only, use STLS\r\n"
        return b"-ERR USER and PASS are not taken here\r\n"

    async def user(self, event: e.User) -> None:
        """Any name is taken: who exists is nobody's business before the password."""
        reason = self.refused_password()
        if reason:
            self.say(self._no_password(reason))
            return
        self.user_name = event.name.strip()
        self.say(b"+OK Password, please\r\n")

    async def password(self, event: e.Pass) -> None:
        """PASS after USER, both once."""
        name, self.user_name = self.user_name, ""
        reason = self.refused_password()
        if reason:
            self.say(self._no_password(reason))
        elif not name:
            self.say(b"-ERR USER first\r\n")
        else:
            credentials = Credentials("password", name, event.password)
            await self._enter(lambda: self.login_password(credentials, "USER", self._open))

    async def mechanisms(self, event: e.Mechanisms) -> None:
        """AUTH alone."""
        names = "".join(f"{name}\r\n" for name in self.offered_mechanisms())
        self.say(b"+OK Mechanisms follow\r\n" + names.encode("ascii") + b".\r\n")

    async def auth(self, event: e.Auth) -> None:
        """RFC 5034."""
        self.user_name = ""
        reason = self.refused_mechanism(event.mechanism)
        if reason:
            self.say(b"-ERR Not without TLS, use STLS\r\n" if reason == "tls" else b"-ERR No such mechanism here\r\n")
            return
        self._says_ok = self.services.ntlm_ok and event.mechanism == "NTLM"
        await self._enter(lambda: self.login(event.mechanism, event.initial, self._ask, self._open))

    async def _ask(self, challenge: bytes) -> bytes | None:
        self.engine.expect_response()
        # QUIRK: Microsoft's clients wait for +OK after AUTH NTLM ([MS-POP3] section 2.2); curl takes that for an end.
        plus = b"+OK" if self._says_ok and not challenge else b"+ "
        self.say(plus + b2a_base64(challenge, newline=False) + b"\r\n")
        event = await self.connection.next_event()
        if isinstance(event, e.Response):
            return event.octets
        if isinstance(event, e.Abort):
            return None
        if isinstance(event, e.Overflow):
            await self.overflow(event)
            raise ConnectionResetError("too much input")
        self.bad_commands += 1
        raise Refused(event.text, "5.5.2")

    # ------------------------------------------------------------ the maildrop

    async def _enter(self, attempt: Callable[[], Awaitable[Identity | None]]) -> None:
        """One attempt to log in and to get hold of the maildrop: both, or neither."""
        try:
            identity = await attempt()
        except AuthenticationFailed as error:
            self.refuse(error)
            return
        if identity is None or self.drop is None:
            self.say(b"-ERR Authentication given up\r\n")
            return
        self.engine.logged_in()
        self.say(b"+OK %d messages (%d octets)\r\n" % (self.drop.count, self.drop.octets))

    async def _open(self, identity: Identity) -> None:
        """Lock and list the INBOX.  Raises InUse, StoreUnavailable, AccessDenied."""
        taken = self.services.maildrops
        if identity.account_id in taken:
            raise InUse("The maildrop is open in another session")
        taken.add(identity.account_id)
        self.held = identity.account_id
        complete = False
        try:
            account = await self.services.store.account(identity.account_id)
            self.drop = Maildrop(await account.open("INBOX"))
            await self.drop.load(self.connection.breathe)
            complete = True
        finally:
            if not complete:
                self.let_go()


#: What answers each event; `serve/pop3.py` adds the commands of the TRANSACTION state.
HANDLERS: dict[type, Callable[[Any, Any], Awaitable[None]]] = {
    e.Mistake: Pop3Login.mistake,
    e.Overflow: Pop3Login.overflow,
    e.Capa: Pop3Login.capa,
    e.Stls: Pop3Login.stls,
    e.User: Pop3Login.user,
    e.Pass: Pop3Login.password,
    e.Mechanisms: Pop3Login.mechanisms,
    e.Auth: Pop3Login.auth,
}
