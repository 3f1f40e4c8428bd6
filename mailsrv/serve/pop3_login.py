"""POP3 before login (floor 3): RFC 1939 AUTHORIZATION state, RFC 2449, RFC 2595, RFC 5034, RFC 6856."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Awaitable, Callable
from typing import Any

from ..auth.attempt import Attempt
from ..errors import AuthenticationFailed, InUse, Refused
from ..values import Credentials, Identity
from ..wire import pop3_apop
from ..wire import pop3_events as e
from ..wire.pop3 import TRANSACTION
from .maildrop import Maildrop
from .pop3_base import Pop3Base, TooSoon

#: The languages of our texts (RFC 6856 section 3.2): tag, and its name in itself.  i-default is English (RFC 2277).
LANGUAGES = {"en": "English", "i-default": "Default language"}


class Pop3Login(Pop3Base):
    """What a POP3 session does without a maildrop, and how it comes by one."""

    async def capa(self, event: e.Capa) -> None:
        """RFC 2449: what is there now."""
        tags = [b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"EXPIRE NEVER"]
        tags += [b"UTF8 USER", b"LANG"]
        if self.services.login_delay:
            tags.append(b"LOGIN-DELAY %d" % self.services.login_delay)
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
        # RFC 2595 section 4, RFC 6856 section 2.1: what was said before is forgotten.
        self.user_name, self.utf8 = "", False
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

    async def apop(self, event: e.Apop) -> None:
        """APOP (RFC 1939 section 7), with the timestamp of the greeting."""
        self.user_name = ""
        stamp = self.stamp
        if not stamp:
            self.say(b"-ERR APOP is not taken here\r\n")
            return
        context = self.context()
        attempt = Attempt(self.services.door, context)
        steps = pop3_apop.exchange(context, event.name.strip(), stamp, event.digest)
        await self._enter(lambda: self._login(attempt, lambda: attempt.drive(steps, self._ask), self._open))

    async def utf8_mode(self, event: e.Utf8) -> None:
        """UTF8 (RFC 6856 section 2)."""
        self.utf8 = True
        self.say(b"+OK UTF-8 it is\r\n")

    async def lang(self, event: e.Lang) -> None:
        """LANG (RFC 6856 section 3): our texts are English, whatever English is wanted."""
        if event.tag is None:
            listing = "".join(f"{tag} {name}\r\n" for tag, name in LANGUAGES.items())
            self.say(b"+OK Languages follow\r\n" + listing.encode("ascii") + b".\r\n")
            return
        wanted = event.tag.lower()
        tag = {"*": "i-default", "i-default": "i-default"}.get(wanted, "en" if wanted.split("-")[0] == "en" else "")
        self.say(b"+OK %b Texts are English\r\n" % tag.encode() if tag else b"-ERR No texts in that language\r\n")

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
        """Lock and list the INBOX.  Raises InUse, TooSoon, StoreUnavailable, AccessDenied."""
        services, now = self.services, self.connection.host.monotonic()
        if not services.may_log_in(identity.account_id, now):
            raise TooSoon()
        if services.exclusive:
            if identity.account_id in services.maildrops:
                raise InUse("The maildrop is open in another session")
            services.maildrops.add(identity.account_id)
            self.held = identity.account_id
        complete = False
        try:
            account = await services.store.account(identity.account_id)
            self.drop = Maildrop(await account.open("INBOX"), services.uidl)
            await self.drop.load(self.connection.breathe, self.utf8)
            services.logged_in(identity.account_id, now)
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
    e.Apop: Pop3Login.apop,
    e.Utf8: Pop3Login.utf8_mode,
    e.Lang: Pop3Login.lang,
    e.Mechanisms: Pop3Login.mechanisms,
    e.Auth: Pop3Login.auth,
}
