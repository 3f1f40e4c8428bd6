"""The three messages of NTLM ([MS-NLMP] section 2.2): read and printed (floor 1).

A variable field is (length, room, offset) in the fixed part and octets in the payload.  `_field` is the only reader:
octets lie behind the fixed part and inside the message.  An empty field is legal everywhere, whatever its offset;
the room is not looked at, as the specification says.  Fields may overlap: each is read by itself, nothing is
written, and old clients let several names share their octets.  Whatever is malformed raises AuthenticationFailed.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct, pack, unpack_from

from attrs import field, frozen

from ...errors import AuthenticationFailed

SIGNATURE = b"NTLMSSP\0"
#: Octets of one message; what a client sends first is far smaller than what it sends last.
NEGOTIATE_OCTETS, CHALLENGE_OCTETS, AUTHENTICATE_OCTETS = 2048, 8192, 8192
#: Pairs of one list; the specification knows eleven.
AV_PAIRS = 32

_HEAD = Struct("<8sI")
_FIELD = Struct("<HHI")
_PAIR = Struct("<HH")

#: Where an AUTHENTICATE message has its MIC, behind the Version, and where its payload begins then.
_MIC, _PAYLOAD = 72, 88
#: The fixed part of its oldest form ends before the session key, that of the next before the Version.
_OLDEST, _OLD = 52, 64


class Flag:
    """NegotiateFlags (section 2.2.2.5), those that mean something here.  Plain numbers: an IntFlag is slow."""

    UNICODE = 0x00000001
    OEM = 0x00000002
    REQUEST_TARGET = 0x00000004
    SIGN = 0x00000010
    NTLM = 0x00000200
    DOMAIN_SUPPLIED = 0x00001000
    WORKSTATION_SUPPLIED = 0x00002000
    ALWAYS_SIGN = 0x00008000
    TARGET_TYPE_DOMAIN = 0x00010000
    TARGET_TYPE_SERVER = 0x00020000
    EXTENDED_SESSIONSECURITY = 0x00080000
    TARGET_INFO = 0x00800000
    VERSION = 0x02000000
    KEY_128 = 0x20000000
    KEY_EXCH = 0x40000000
    KEY_56 = 0x80000000


class Av:
    """AvId (section 2.2.2.1)."""

    EOL = 0
    NB_COMPUTER, NB_DOMAIN, DNS_COMPUTER, DNS_DOMAIN = 1, 2, 3, 4
    FLAGS = 6
    TIMESTAMP = 7
    CHANNEL_BINDINGS = 10
    #: A bit in the value of FLAGS: the message has a MIC.
    MIC_PRESENT = 0x2


@frozen
class ChallengeMessage:
    """CHALLENGE (section 2.2.1.2): `challenge` has 8 octets, `target` is a name in the charset of the flags, `info`
    the list of pairs as it stands in the message."""

    flags: int
    challenge: bytes
    target: bytes
    info: bytes


@frozen
class AuthenticateMessage:
    """AUTHENTICATE (section 2.2.1.3): fields as sent.  `flags` is None in its oldest form, `mic` where the payload
    leaves no room for one; whether it *is* one, the pairs of NTLMv2 say."""

    lm: bytes = field(repr=False)
    nt: bytes = field(repr=False)
    domain: bytes
    user: bytes
    workstation: bytes = b""
    key: bytes = field(default=b"", repr=False)
    flags: int | None = None
    mic: bytes | None = field(default=None, repr=False)


@frozen
class NtlmV2Response:
    """NTLMv2_RESPONSE (section 2.2.2.8): `temp` is all behind the proof, `pairs` those in it."""

    proof: bytes = field(repr=False)
    temp: bytes = field(repr=False)
    pairs: Mapping[int, bytes]

    @property
    def says_mic(self) -> bool:
        """The client claims to have put a MIC into its message; the proof covers this claim."""
        flags = self.pairs.get(Av.FLAGS, b"")
        return bool(int.from_bytes(flags, "little") & Av.MIC_PRESENT)


# ---------------------------------------------------------------- reading


def _head(octets: bytes, kind: int, least: int, most: int) -> None:
    """Signature, type and size of a message."""
    if not least <= len(octets) <= most or _HEAD.unpack_from(octets) != (SIGNATURE, kind):
        raise AuthenticationFailed()


def _field(octets: bytes, at: int, payload: int) -> tuple[int, bytes]:
    """The offset and the octets of the field described at `at`; an empty one is at the end of the message."""
    length, _, offset = _FIELD.unpack_from(octets, at)
    if not length:
        return len(octets), b""
    if offset < payload or offset + length > len(octets):
        raise AuthenticationFailed()
    return offset, octets[offset : offset + length]


def read_negotiate(octets: bytes) -> int:
    """The flags of a NEGOTIATE message (section 2.2.1.1).  Its names are of no use here, but must fit.

    QUIRK: the names, and the Version, may be absent altogether (32 octets from curl and swaks, 16 from others).
    """
    _head(octets, 1, 16, NEGOTIATE_OCTETS)
    flags = int(unpack_from("<I", octets, 12)[0])
    for bit, at in (Flag.DOMAIN_SUPPLIED, 16), (Flag.WORKSTATION_SUPPLIED, 24):
        if flags & bit and len(octets) >= 32:
            _field(octets, at, 32)
    return flags


def read_challenge(octets: bytes) -> ChallengeMessage:
    """A CHALLENGE message, for the client.  QUIRK: the oldest servers end it before the pairs."""
    _head(octets, 2, 32, CHALLENGE_OCTETS)
    flags, challenge = unpack_from("<I8s", octets, 20)
    _, target = _field(octets, 12, 32)
    info = b""
    if flags & Flag.TARGET_INFO:
        if len(octets) < 48:
            raise AuthenticationFailed()
        _, info = _field(octets, 40, 48)
    return ChallengeMessage(flags, challenge, target, info)


def read_authenticate(octets: bytes) -> AuthenticateMessage:
    """An AUTHENTICATE message.

    QUIRK: how long its fixed part is, shows where the payload begins: the oldest form has neither session key nor
    flags, the next no Version, and neither has a MIC (GNU SASL, fetchmail, curl).
    """
    _head(octets, 3, _OLDEST, AUTHENTICATE_OCTETS)
    fields = [_field(octets, at, _OLDEST) for at in (12, 20, 28, 36, 44)]
    lm, nt, domain, user, workstation = (content for _, content in fields)
    payload = min(offset for offset, _ in fields)
    if payload < _OLD:
        return AuthenticateMessage(lm, nt, domain, user, workstation)
    offset, key = _field(octets, 52, _OLD)
    mic = octets[_MIC:_PAYLOAD] if min(offset, payload) >= _PAYLOAD else None
    return AuthenticateMessage(lm, nt, domain, user, workstation, key, unpack_from("<I", octets, 60)[0], mic)


def read_pairs(octets: bytes) -> dict[int, bytes]:
    """A list of AV_PAIR (section 2.2.2.1) up to its end, which must be there; what follows is not looked at.

    No id comes twice, and there are at most `AV_PAIRS`.
    """
    pairs: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(octets):
        kind, length = _PAIR.unpack_from(octets, at)
        at += 4
        if kind == Av.EOL:
            return pairs
        if at + length > len(octets) or kind in pairs or len(pairs) >= AV_PAIRS:
            break
        pairs[kind] = octets[at : at + length]
        at += length
    raise AuthenticationFailed()


def read_response(octets: bytes) -> NtlmV2Response:
    """The NT response of NTLMv2: 16 octets of proof and NTLMv2_CLIENT_CHALLENGE (section 2.2.2.7)."""
    temp = octets[16:]
    if len(temp) < 32 or temp[:2] != b"\1\1":
        raise AuthenticationFailed()
    pairs = read_pairs(temp[28:])
    if len(pairs.get(Av.FLAGS, bytes(4))) != 4 or len(pairs.get(Av.CHANNEL_BINDINGS, bytes(16))) != 16:
        raise AuthenticationFailed()
    return NtlmV2Response(octets[:16], temp, pairs)


def text(octets: bytes, flags: int) -> str:
    """A name in the charset that the flags tell.

    QUIRK: OEM is whatever the client's system had: UTF-8 on those that still use it, else the octets themselves.
    """
    try:
        return octets.decode("utf-16-le" if flags & Flag.UNICODE else "utf-8")
    except UnicodeDecodeError:
        if flags & Flag.UNICODE:
            raise AuthenticationFailed() from None
        return octets.decode("latin-1")


# ---------------------------------------------------------------- printing


def print_negotiate(flags: int) -> bytes:
    """A NEGOTIATE message without names: 40 octets."""
    return _HEAD.pack(SIGNATURE, 1) + pack("<I", flags) + bytes(16) + _version(flags)


def print_challenge(message: ChallengeMessage) -> bytes:
    """A CHALLENGE message."""
    at = 56
    target = _FIELD.pack(len(message.target), len(message.target), at)
    info = _FIELD.pack(len(message.info), len(message.info), at + len(message.target))
    middle = pack("<I8s8x", message.flags, message.challenge)
    head = _HEAD.pack(SIGNATURE, 2), target, middle, info, _version(message.flags)
    return b"".join((*head, message.target, message.info))


def print_authenticate(message: AuthenticateMessage) -> bytes:
    """An AUTHENTICATE message in its newest form; zeros where `mic` is None."""
    fields, payload, at = [], [], _PAYLOAD
    contents = (message.lm, message.nt, message.domain, message.user, message.workstation, message.key)
    for content in contents:
        fields.append(_FIELD.pack(len(content), len(content), at))
        payload.append(content)
        at += len(content)
    flags = message.flags or 0
    middle = pack("<I", flags) + _version(flags) + (message.mic or bytes(16))
    return b"".join((_HEAD.pack(SIGNATURE, 3), *fields, middle, *payload))


def _version(flags: int) -> bytes:
    """Version (section 2.2.2.10), which means nothing to a receiver: 10.0, build 0, revision 15; zeros unless
    negotiated."""
    return b"\x0a\0\0\0\0\0\0\x0f" if flags & Flag.VERSION else bytes(8)


def without_mic(octets: bytes) -> bytes:
    """An AUTHENTICATE message of the newest form with zeros for its MIC: what the MIC is made over."""
    return octets[:_MIC] + bytes(16) + octets[_PAYLOAD:]


def with_mic(octets: bytes, mic: bytes) -> bytes:
    """An AUTHENTICATE message of the newest form with this MIC."""
    return octets[:_MIC] + mic + octets[_PAYLOAD:]


def print_pairs(pairs: Mapping[int, bytes]) -> bytes:
    """A list of AV_PAIR in this order, with its end."""
    return b"".join(_PAIR.pack(kind, len(value)) + value for kind, value in pairs.items()) + bytes(4)


def file_time(now: float) -> bytes:
    """FILETIME: units of 100 ns since 1601 for UTC epoch seconds, 8 octets."""
    return pack("<Q", int((now + 11_644_473_600) * 10_000_000))
