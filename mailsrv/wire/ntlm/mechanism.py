"""NTLM: the mechanism, and its server side (floor 1).

NTLMv2 always; NTLMv1 and the NTLM2 session response where `v1` says so; LM responses never.  What is not checked,
and why: the client's timestamp, as our challenge is random and good for one answer, so nothing can be played again;
the names of the server in the client's pairs, as a relay hands ours on unchanged.  Under TLS a client that binds
its proof to the channel is held to it; one that does not is let in, as hardly any mail client does.
"""

from __future__ import annotations

from collections.abc import Generator
from hmac import compare_digest
from typing import Any

from attrs import evolve, field, frozen
from zope.interface import implementer

from ...errors import AuthenticationFailed
from ...interfaces import IClientMechanism, ISaslMechanism
from ...values import AuthContext, Challenge, ClientContext, Credentials, Identity, NeedSecrets, Respond, Verify
from . import client, crypto, messages
from .messages import AuthenticateMessage, Av, ChallengeMessage, Flag, NtlmV2Response

#: Octets of UTF-8 of a user's or domain's name, as in the other mechanisms.
NAME_OCTETS = 1024
#: What a client may ask for and get.  SIGN is the MIC; there is no security layer, so no SEAL.
#: QUIRK: older gss-ntlmssp puts the MIC elsewhere if VERSION is refused.
_GRANTED = (
    Flag.REQUEST_TARGET
    | Flag.SIGN
    | Flag.ALWAYS_SIGN
    | Flag.EXTENDED_SESSIONSECURITY
    | Flag.VERSION
    | Flag.KEY_128
    | Flag.KEY_EXCH
    | Flag.KEY_56
)
#: What an exchange yields.
Steps = Generator[Challenge | NeedSecrets | Verify, Any, Identity]


@frozen
class TargetNames:
    """How the server calls itself in its challenge (section 2.2.2.1); derived from host name and login domain."""

    nb_domain: str
    nb_computer: str
    dns_domain: str
    dns_computer: str

    @classmethod
    def of(cls, context: AuthContext) -> TargetNames:
        """The names for this login.  Without a login domain the host stands for it, as a host in no domain does."""
        host, domain = context.hostname, context.login_domain
        return cls(_netbios(domain or host), _netbios(host), domain or host, host)

    def pairs(self, now: float) -> dict[int, bytes]:
        """TargetInfo: the names, and the time.  The time makes clients send a MIC (section 3.1.5.1.2)."""
        return {
            Av.NB_DOMAIN: self.nb_domain.encode("utf-16-le"),
            Av.NB_COMPUTER: self.nb_computer.encode("utf-16-le"),
            Av.DNS_DOMAIN: self.dns_domain.encode("utf-16-le"),
            Av.DNS_COMPUTER: self.dns_computer.encode("utf-16-le"),
            Av.TIMESTAMP: messages.file_time(now),
        }


@frozen(repr=False)
class _Exchange:
    """What went over the wire, as far as a proof depends on it."""

    context: AuthContext
    names: TargetNames
    challenge: bytes
    negotiate: bytes
    offer: bytes
    answer: bytes = field(repr=False)
    message: AuthenticateMessage
    user: str
    domain: str


@implementer(ISaslMechanism, IClientMechanism)
class Ntlm:
    """NTLM ([MS-NLMP]).

    `v1` accepts NTLMv1 and the NTLM2 session response too: most Unix clients speak nothing newer; both are found out
    in hours by who listens.  `external`: no secrets are asked for, an authenticator of the scheme "response" (one
    that asks a domain controller) gets `username` exactly as the client sent it, with ``DOMAIN\\`` if there was one,
    the challenge and the NT response.  The MIC then is not checked: nobody tells us the session key.
    """

    name = "NTLM"
    method = "ntlm"
    plaintext = False
    channel = "facts"

    def __init__(self, *, v1: bool = False, external: bool = False) -> None:
        self._v1, self._external = v1, external
        self.scheme = "response" if external else "secret"
        self.secret = "" if external else "ntlm"

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`; an initial response is the NEGOTIATE message."""
        negotiate = (yield Challenge(b"")) if initial is None else initial
        names, challenge = TargetNames.of(context), context.random(crypto.CHALLENGE_OCTETS)
        flags = _flags(messages.read_negotiate(negotiate), context)
        offer = _offer(flags, challenge, names, context)
        answer = yield Challenge(offer)
        message = messages.read_authenticate(answer)
        if message.flags is None:
            message = evolve(message, flags=flags)
        user, domain = _names(message)
        heard = _Exchange(context, names, challenge, negotiate, offer, answer, message, user, domain)
        credentials = yield from self._check(heard)
        identity: Identity = yield Verify(credentials)
        return evolve(identity, mechanism=self.name)

    def respond(self, context: ClientContext) -> Generator[Respond, bytes, None]:
        """See `IClientMechanism`: NTLMv2, as in `client.respond`."""
        return client.respond(context)

    def _check(self, heard: _Exchange) -> Generator[NeedSecrets, Any, Credentials]:
        """What an authenticator is to verify.  Raises AuthenticationFailed for a wrong proof."""
        response = self._response(heard)
        if self._external:
            username = f"{heard.domain}\\{heard.user}" if heard.domain else heard.user
            challenge = heard.challenge if isinstance(response, NtlmV2Response) else response
            return Credentials("response", username, challenge=challenge, response=heard.message.nt)
        login = _login(heard)
        secrets = yield NeedSecrets(self.secret, login)
        key = crypto.kept(secrets.keys) if secrets is not None else None
        # Nobody of that name, or nothing kept: the same work against a key that nobody has.
        decoy = _decoy(heard.context, login)
        right = _proves(heard, response, decoy if key is None else key)
        if key is None or not right:
            raise AuthenticationFailed()
        return Credentials("secret", login, secrets=secrets)

    def _response(self, heard: _Exchange) -> NtlmV2Response | bytes:
        """The response of NTLMv2; for the older ones the challenge that they answer.

        Empty ones are refused: there is no anonymous login here, and a client that sends LM alone has none.
        """
        nt, lm = heard.message.nt, heard.message.lm
        if len(nt) != crypto.V1_OCTETS:
            response = messages.read_response(nt)
            _bound(response, heard.context)
            return response
        if not self._v1:
            raise AuthenticationFailed()
        # A client may repeat the flag without knowing it; the zeros tell whose response is made so (section 3.3.1).
        session = _set(heard, Flag.EXTENDED_SESSIONSECURITY) and len(lm) == crypto.V1_OCTETS and not any(lm[8:])
        return crypto.session_challenge(heard.challenge, lm[:8]) if session else heard.challenge


def _decoy(context: AuthContext, login: str) -> bytes:
    """An NT hash for a login that has none, always the same."""
    return context.decoy(b"ntlm\0" + login.encode("utf-8"))[: crypto.KEY_OCTETS]


# ---------------------------------------------------------------- the challenge


def _netbios(name: str) -> str:
    """The first label in upper case, as long as such a name may be."""
    return crypto.upper(name.partition(".")[0])[:15]


def _flags(asked: int, context: AuthContext) -> int:
    """What the server grants.  QUIRK: a client that names no charset gets Unicode."""
    flags = asked & _GRANTED | Flag.NTLM | Flag.TARGET_INFO
    flags |= Flag.OEM if asked & Flag.OEM and not asked & Flag.UNICODE else Flag.UNICODE
    if asked & Flag.REQUEST_TARGET:
        flags |= Flag.TARGET_TYPE_DOMAIN if context.login_domain else Flag.TARGET_TYPE_SERVER
    return flags


def _offer(flags: int, challenge: bytes, names: TargetNames, context: AuthContext) -> bytes:
    """The CHALLENGE message."""
    target = b""
    if flags & Flag.REQUEST_TARGET:
        target = names.nb_domain.encode("utf-16-le" if flags & Flag.UNICODE else "utf-8")
    info = messages.print_pairs(names.pairs(context.now()))
    return messages.print_challenge(ChallengeMessage(flags, challenge, target, info))


# ---------------------------------------------------------------- names


def _names(message: AuthenticateMessage) -> tuple[str, str]:
    """User and domain as sent: printable, `NAME_OCTETS` at most, the user not empty."""
    user, domain = (messages.text(octets, message.flags or 0) for octets in (message.user, message.domain))
    for name in user, domain:
        if not name.isprintable() or len(name.encode("utf-8")) > NAME_OCTETS:
            raise AuthenticationFailed()
    if not user:
        raise AuthenticationFailed()
    return user, domain


def _login(heard: _Exchange) -> str:
    """Who is meant (decision 33): the whole login, or ``DOMAIN\\user``, or a name that the login domain completes.

    QUIRK: swaks, Mail::IMAPClient and mbsync leave ``user@domain`` whole and add our target name as the domain;
    GNU SASL and fetchmail make it two.  A name of this host that the table of domains knows is a domain's.
    """
    user, domain, names = _repaired(heard.user), _repaired(heard.domain), heard.names
    lower = domain.lower()
    if not domain or "@" in user or "\\" in user:
        return user
    if heard.context.login_domain and lower in (names.nb_domain.lower(), names.dns_domain.lower()):
        return user
    if lower in (names.nb_computer.lower(), names.dns_computer.lower()) and lower not in heard.context.domains:
        return user
    return f"{domain}\\{user}"


def _repaired(name: str) -> str:
    """QUIRK: libntlm and curl spread the octets of UTF-8 over UTF-16 instead of translating them."""
    if name.isascii():
        return name
    try:
        return name.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return name


# ---------------------------------------------------------------- the proof


def _set(heard: _Exchange, flag: int) -> bool:
    return bool((heard.message.flags or 0) & flag)


def _bound(response: NtlmV2Response, context: AuthContext) -> None:
    """A binding that is not zeros must be this TLS connection's, and is refused without TLS: there the proof was
    made for another connection.  (So clients that bind cannot log in behind a proxy that ends TLS.)"""
    said = response.pairs.get(Av.CHANNEL_BINDINGS, b"")
    if not any(said):
        return
    end_point = context.peer.tls.bindings.get("tls-server-end-point") if context.peer.tls else None
    if end_point is None or not compare_digest(said, crypto.channel_bindings(end_point)):
        raise AuthenticationFailed()


def _proves(heard: _Exchange, response: NtlmV2Response | bytes, key: bytes) -> bool:
    """Whether the response shows that the client knows the NT hash `key`."""
    if isinstance(response, bytes):
        return compare_digest(heard.message.nt, crypto.ntlmv1(key, response))
    for user, domain in _hashed(heard):
        owf = crypto.ntowfv2(key, user, domain)
        if compare_digest(response.proof, crypto.nt_proof(owf, heard.challenge, response.temp)):
            return not response.says_mic or _whole(heard, crypto.session_base_key(owf, response.proof))
    return False


def _hashed(heard: _Exchange) -> list[tuple[str, str]]:
    """User and domain as they may have gone into the client's hash.

    QUIRK: curl knows no letters beyond ASCII: it hashes the octets of UTF-8 as if each were a character, and makes
    upper case of a to z alone.
    """
    forms = [(crypto.upper(heard.user), heard.domain)]
    if not (heard.user + heard.domain).isascii():
        names = heard.user, heard.domain
        if not _set(heard, Flag.UNICODE):
            names = heard.message.user.decode("latin-1"), heard.message.domain.decode("latin-1")
        forms.append((crypto.ascii_upper(names[0]), names[1]))
    return forms


def _whole(heard: _Exchange, key: bytes) -> bool:
    """Whether the MIC is right: nobody has changed one of the three messages."""
    mic, wrapped = heard.message.mic, heard.message.key
    if mic is None:
        return False
    if _set(heard, Flag.KEY_EXCH) and wrapped:
        if len(wrapped) != crypto.KEY_OCTETS:
            return False
        key = crypto.rc4(key, wrapped)
    authenticate = messages.without_mic(heard.answer)
    return compare_digest(mic, crypto.message_integrity(key, heard.negotiate, heard.offer, authenticate))
