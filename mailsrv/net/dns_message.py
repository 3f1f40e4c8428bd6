"""DNS messages (floor 3): a question, and what of an answer may be believed (RFC 1035; octets by twisted.names)."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Any
from unicodedata import normalize

from attrs import frozen
from twisted.names import dns

from ..message.domains import a_labels

#: Kind -> the number of its record type.
TYPES = {"A": dns.A, "AAAA": dns.AAAA, "PTR": dns.PTR, "MX": dns.MX, "TXT": dns.TXT}
NO_ERROR, NO_NAME = 0, 3
#: Records of one answer that are looked at, and aliases that are followed inside it.
MAX_RECORDS, MAX_ALIASES = 200, 8
#: Longest label and name in octets (RFC 1035 section 2.3.4).
_MAX_LABEL, _MAX_NAME = 63, 253
#: What can be in a name that is asked for; RFC 2317 has "/" in names of reverse zones.
_PRINTABLE = re.compile(rb"[!-~]+")
#: The name of a host; what else a PTR record holds would be a way to write into logs.
_HOST = re.compile(rb"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")


@frozen
class Answer:
    """What one answer says about its question.  `code` is the RCODE.  `name` is the name after all aliases; `found`
    its records as in IResolver.  Without records `name` is still to be asked when `open`.  `ttl` are seconds."""

    code: int
    truncated: bool = False
    name: str = ""
    found: tuple[Any, ...] = ()
    ttl: int = 0
    open: bool = False


def wire_name(name: str) -> bytes | None:
    """A name in A-labels and lower case without the final dot; None: it can be no name in the DNS."""
    if name.isascii():
        return _checked(name.encode("ascii"))
    return _checked(a_labels(normalize("NFC", name.lower())).encode("ascii")) if name.isprintable() else None


def _checked(name: bytes) -> bytes | None:
    """In lower case, without the final dot; None where that is no name."""
    octets = name.lower().removesuffix(b".")
    if not _PRINTABLE.fullmatch(octets) or len(octets) > _MAX_NAME:
        return None
    return octets if all(0 < len(label) <= _MAX_LABEL for label in octets.split(b".")) else None


def question(number: int, name: bytes, kind: str) -> bytes:
    """The octets of a question; recursion is desired."""
    message = dns.Message(id=number, recDes=1)
    message.addQuery(name, TYPES[kind], dns.IN)
    octets: bytes = message.toStr()
    return octets


def read_answer(octets: bytes, number: int, name: bytes, kind: str) -> Answer | None:
    """What the octets say to that question; None: they are no answer to it, or no DNS message at all.

    Only records of the name that was asked, and of names its aliases lead to, are believed: whatever else stands in
    an answer is somebody's wish.
    """
    if len(octets) < 12 or struct.unpack_from("!H", octets)[0] != number:
        return None
    message = dns.Message()
    try:
        message.fromStr(octets)
    except (EOFError, ValueError, struct.error, IndexError, OverflowError):
        return None
    asked, (answers, authority) = message.queries, struct.unpack_from("!2H", octets, 6)
    if not message.answer or len(asked) != 1:
        return None
    # Of octets that end too soon twisted.names gives what it could read.
    if not message.trunc and (len(message.answers), len(message.authority)) != (answers, authority):
        return None
    if (asked[0].type, asked[0].cls) != (TYPES[kind], dns.IN) or asked[0].name.name.lower() != name:
        return None
    if message.rCode not in (NO_ERROR, NO_NAME):
        return Answer(message.rCode)
    if message.trunc:
        return Answer(message.rCode, truncated=True)
    return _follow(message, name, kind)


def _follow(message: dns.Message, name: bytes, kind: str) -> Answer:
    """Along the aliases to the records."""
    records = message.answers[:MAX_RECORDS]
    ttl, steps = 2**31, 0
    while True:
        own = [record for record in records if record.name.name.lower() == name and record.cls == dns.IN]
        wanted = [record for record in own if record.type == TYPES[kind]]
        if wanted:
            ttl = min(ttl, *(record.ttl for record in wanted))
            found = tuple(value for record in wanted if (value := _value(record.payload, kind)) is not None)
            return Answer(NO_ERROR, name=name.decode("ascii"), found=_ordered(found, kind), ttl=ttl)
        alias: Any = next((record for record in own if record.type == dns.CNAME), None)
        if alias is None:
            break
        steps += 1
        target = _checked(alias.payload.name.name)
        if target is None or steps > MAX_ALIASES:
            # A loop, or a name that nobody can have: there is nothing behind it.
            return Answer(NO_NAME, name=name.decode("ascii"), ttl=min(ttl, alias.ttl))
        ttl, name = min(ttl, alias.ttl), target
    negative = _negative_ttl(message, name)
    # An alias whose target the server did not look up is asked for next.
    goes_on = steps > 0 and message.rCode == NO_ERROR and negative is None
    seconds = ttl if goes_on else min(ttl, negative or 0)
    return Answer(message.rCode, name=name.decode("ascii"), ttl=seconds, open=goes_on)


def _negative_ttl(message: dns.Message, name: bytes) -> int | None:
    """How long nothing may be remembered (RFC 2308 section 5): what the SOA of a zone around the name says."""
    record: Any
    for record in message.authority[:MAX_RECORDS]:
        zone = record.name.name.lower()
        if record.type == dns.SOA and (not zone or name == zone or name.endswith(b"." + zone)):
            return int(min(record.ttl, record.payload.minimum))
    return None


def _value(payload: Any, kind: str) -> Any:
    """One record as in IResolver; None for one that makes no sense."""
    if kind == "A":
        return payload.dottedQuad()
    if kind == "AAAA":
        return str(IPv6Address(payload.address))
    if kind == "TXT":
        return b"".join(payload.data)
    name = _checked(payload.name.name)
    host = name.decode("ascii") if name is not None and _HOST.fullmatch(name) else None
    if kind == "MX" and not payload.name.name:
        # "." alone: no mail for this domain (RFC 7505).
        return (payload.preference, "")
    return host if kind == "PTR" or host is None else (payload.preference, host)


def _ordered(found: Sequence[Any], kind: str) -> tuple[Any, ...]:
    """MX by preference, all else as it came."""
    return tuple(sorted(found, key=lambda pair: pair[0])) if kind == "MX" else tuple(found)
