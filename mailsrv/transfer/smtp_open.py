"""From an address to a server that waits for mail (floor 4): connection, greeting, TLS, login."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from twisted.logger import Logger

from ..errors import AuthenticationFailed, ConfigError, MailError, Refused, TryLater
from ..net.client import Connector
from ..net.outgoing import Outgoing, TlsFailed
from ..values import ClientContext, Hop
from ..wire.smtp_client import Unwilling
from ..wire.smtp_replies_reader import PeerLost

log = Logger()

#: A port where TLS comes before the greeting (RFC 8314 section 3.3).
IMPLICIT_TLS = 465
#: Seconds for which TLS that failed is not tried again where it may be left out, and servers that are remembered.
BROKEN, MEMORY = 1800.0, 1000
#: A connection that ended with these has not been refused by words (RFC 3463: lost, garbled).
_SPEECHLESS = ("4.4.2", "4.5.0")


class LoginRefused(TryLater):
    """The server does not take our credentials: no other hop is asked with them, and nothing is sent without them."""

    status = "4.7.8"


@frozen
class Opener:
    """Opens sessions at other servers.

    `hostname` is what we call ourselves; `choose(offered, login, bindings, secure=...)` gives the client mechanism for
    a login or None (`auth/outbound.py`); `random` and `now` are for mechanisms.
    """

    connector: Connector
    hostname: Callable[[], str]
    choose: Callable[..., Any]
    random: Callable[[int], bytes] = field(repr=False)
    now: Callable[[], float]

    #: Address and port -> until when (monotonic) its TLS counts as broken, and why.
    _broken: OrderedDict[tuple[str, int], tuple[float, str]] = field(factory=OrderedDict, init=False, repr=False)

    async def open(self, hop: Hop, address: str, login: Any) -> Outgoing:
        """A session that is ready for MAIL.

        Opportunistic TLS that fails is left out in a second try, and for a while after (RFC 7435 section 3).  Raises
        TryLater with the reason, LoginRefused.
        """
        if hop.tls != "opportunistic" or hop.port == IMPLICIT_TLS:
            return await self._open(hop, address, hop.tls, login)
        now, place = self.connector.monotonic(), (address, hop.port)
        until, reason = self._broken.get(place, (now, ""))
        if until <= now:
            try:
                return await self._open(hop, address, hop.tls, login)
            except TlsFailed as error:
                reason = error.text
            log.info(
                "no TLS with {host} [{address}], sending without: {reason}",
                host=hop.host, address=address, reason=reason,
            )  # fmt: skip
            self._broken[place] = (now + BROKEN, reason)
            self._broken.move_to_end(place)
            if len(self._broken) > MEMORY:
                self._broken.popitem(last=False)
        return await self._open(hop, address, "off", login, reason)

    async def _open(self, hop: Hop, address: str, level: str, login: Any, broken: str = "") -> Outgoing:
        """`broken`: why there is no TLS although there should be."""
        made = await self.connector.connect(address, hop.port, hop.protocol == "lmtp")
        ready = False
        try:
            await self._begin(made, hop, level)
            await self._login(made, hop, login)
            if hop.named or broken:
                made.client.excuse = _excuse(made.client.secure, login, broken)
            ready = True
        except MailError as error:
            made.quit()
            if broken and isinstance(error, TryLater):
                raise type(error)(f"{error.text} (without TLS: {broken})", error.status) from error
            raise
        finally:
            # Whatever else ends this, somebody's cancelling included.
            if not ready and not made.lost:
                made.abort()
        return made

    async def _begin(self, made: Outgoing, hop: Hop, level: str) -> None:
        """Greeting and TLS."""
        client, name = made.client, self.hostname()
        if level != "off":
            try:
                made.use_tls(self.connector.tls.creator(level, hop.host))
            except ConfigError as error:
                raise TryLater(error.text, "4.3.5") from error
        if level != "off" and hop.port == IMPLICIT_TLS:
            await made.shake()
        await made.run(client.greet(name))
        if level == "off" or client.secure:
            return
        if "STARTTLS" in client.features:
            try:
                await made.run(client.start_tls(name))
            except Unwilling as error:
                if client.secure or level != "opportunistic":
                    raise
                log.info("{host} offers STARTTLS and refuses it: {reason}", host=hop.host, reason=error.text)
            except PeerLost as error:
                # QUIRK: middle boxes, and servers without a key, that hang up or fall silent instead of refusing it.
                if error.status in _SPEECHLESS:
                    raise TlsFailed(error.text) from error
                raise
        elif level != "opportunistic":
            raise TryLater(f"{hop.host} does not offer TLS, which is required here", "4.7.10")

    async def _login(self, made: Outgoing, hop: Hop, login: Any) -> None:
        if login is None or login.method == "anonymous":
            return
        client = made.client
        bindings = made.bindings()
        try:
            mechanism = self.choose(client.features.mechanisms, login, bindings, secure=client.secure)
        except Refused as error:
            raise TryLater(error.text, "4" + error.status[1:]) from error
        if mechanism is None:
            return
        context = ClientContext(
            login.username, login.password, token=login.token, hostname=hop.host, port=hop.port, domain=login.domain,
            bindings=bindings, random=self.random, now=self.now,
        )  # fmt: skip
        try:
            await made.run(client.login(mechanism, context))
        except AuthenticationFailed as error:
            raise LoginRefused(f"Login by {mechanism.name} failed: {error.text}", "4" + error.status[1:]) from error


def _excuse(secure: bool, login: Any, broken: str) -> str:
    """Under which conditions a server was spoken to that may want others."""
    anonymous = login is None or login.method == "anonymous"
    why = f", which failed: {broken}" if broken else ""
    return f"tried {'without' if anonymous else 'with'} a login, {'with' if secure else 'without'} TLS{why}"
