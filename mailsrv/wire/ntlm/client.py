"""NTLM, client side ([MS-NLMP] section 3.1.5.1): NTLMv2 and nothing older (floor 1)."""

from __future__ import annotations

from collections.abc import Generator

from ...errors import AuthenticationFailed
from ...values import ClientContext, Respond
from . import crypto, messages
from .messages import AuthenticateMessage, Av, Flag

#: What is asked for.  No session keys are wanted, so none is exchanged.
ASKED = (
    Flag.UNICODE
    | Flag.REQUEST_TARGET
    | Flag.NTLM
    | Flag.ALWAYS_SIGN
    | Flag.EXTENDED_SESSIONSECURITY
    | Flag.TARGET_INFO
    | Flag.VERSION
    | Flag.KEY_128
    | Flag.KEY_56
)
#: User and domain together.
NAME_LETTERS = 1024


def respond(context: ClientContext) -> Generator[Respond, bytes, None]:
    """NEGOTIATE as initial response, then AUTHENTICATE.

    The user is ``DOMAIN\\user``, or `username` in the Windows domain `domain`; ``user@domain`` stays whole, without a
    domain.  With a timestamp in the challenge it is used, and a MIC is sent.  The server proves nothing in NTLM: use
    it under TLS.  Raises AuthenticationFailed for a challenge that makes no sense or takes no Unicode.
    """
    negotiate = messages.print_negotiate(ASKED)
    challenge = yield Respond(negotiate, final=False)
    yield Respond(authenticate(context, negotiate, challenge))


def authenticate(context: ClientContext, negotiate: bytes, challenge: bytes) -> bytes:
    """The AUTHENTICATE message for these two.  Raises AuthenticationFailed."""
    offer = messages.read_challenge(challenge)
    if not offer.flags & Flag.UNICODE:
        raise AuthenticationFailed("The server takes no Unicode in NTLM")
    user, domain = _user(context)
    pairs = messages.read_pairs(offer.info) if offer.info else {}
    timestamp = pairs.get(Av.TIMESTAMP)
    temp = _temp(context, pairs)
    try:
        owf = crypto.ntowfv2(crypto.nt_hash(context.password), crypto.upper(user), domain)
        names = [name.encode("utf-16-le") for name in (domain, user)]
    except UnicodeEncodeError:
        raise AuthenticationFailed() from None
    proof = crypto.nt_proof(owf, offer.challenge, temp)
    # The LM field stays zeros: with a timestamp it must (section 3.1.5.1.2), and no server wants it today.
    flags = offer.flags & ASKED
    message = AuthenticateMessage(bytes(crypto.V1_OCTETS), proof + temp, names[0], names[1], flags=flags)
    octets = messages.print_authenticate(message)
    if timestamp is None:
        return octets
    key = crypto.session_base_key(owf, proof)
    return messages.with_mic(octets, crypto.message_integrity(key, negotiate, challenge, octets))


def _user(context: ClientContext) -> tuple[str, str]:
    """User and domain."""
    domain, slash, user = context.username.partition("\\")
    if not slash:
        user, domain = context.username, "" if "@" in context.username else context.domain
    if not user or len(user) + len(domain) > NAME_LETTERS:
        raise AuthenticationFailed()
    return user, domain


def _temp(context: ClientContext, offered: dict[int, bytes]) -> bytes:
    """NTLMv2_CLIENT_CHALLENGE (section 2.2.2.7) and the four zeros behind it (section 3.3.2)."""
    pairs = dict(offered)
    timestamp = pairs.get(Av.TIMESTAMP)
    if timestamp is None:
        timestamp = messages.file_time(context.now())
    elif len(timestamp) != 8:
        raise AuthenticationFailed()
    else:
        said = int.from_bytes(pairs.get(Av.FLAGS, b"")[:4], "little")
        pairs[Av.FLAGS] = (said | Av.MIC_PRESENT).to_bytes(4, "little")
    end_point = context.bindings.get("tls-server-end-point")
    pairs[Av.CHANNEL_BINDINGS] = bytes(16) if end_point is None else crypto.channel_bindings(end_point)
    head = b"\1\1" + bytes(6) + timestamp + context.random(crypto.CHALLENGE_OCTETS) + bytes(4)
    return head + messages.print_pairs(pairs) + bytes(4)
