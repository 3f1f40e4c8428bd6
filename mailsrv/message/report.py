"""Delivery reports (floor 1): RFC 3461, 3464, 6522, and RFC 6533 for addresses beyond ASCII.

A report is a message of three parts: for people, for programs, and what it is about.  The message that it is about is
streamed, never copied.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen
from zope.interface import implementer

from ..interfaces import IContent
from ..values import Address, Envelope, Outcome, Recipient
from .content import MemoryContent
from .dates import rfc5322
from .domains import a_labels
from .header import decode, header_end, values
from .report_text import ENGLISH, MAX_SUBJECT, Texts, harmless, kind_of, letter, spoken, status_of
from .rewrite import read_head

#: A message of more octets is returned as its header alone, unless the whole is asked for; of a header so much.
MAX_RETURNED, MAX_HEADER = 2**20, 64 * 2**10
_SLICE = 256 * 2**10
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_ATOMS = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UNITEXT = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{3,900}>")
_WORDS = re.compile(r"\S{1,200}")


@frozen
class Reported:
    """The message that a report is about: `id` and `arrived` (UTC epoch seconds) of its acceptance, `parameters` of
    MAIL (RET, ENVID, BODY, SMTPUTF8)."""

    content: IContent
    id: str = ""
    arrived: float = 0.0
    parameters: Mapping[str, str] = field(factory=dict)


@frozen
class Issuer:
    """Who reports: the server's FQDN, the address in From, that of Reply-To (S-127), and its words; `zone` minutes
    east of UTC."""

    hostname: str
    sender: Address
    reply_to: Address | None = None
    texts: Texts = ENGLISH
    zone: int = 0


@frozen
class Report:
    """A report ready to be accepted as mail of our own.  The reverse path is null, so nobody reports about a report
    (RFC 3461 section 6.1).  `content` reads from the message it is about, which stays with who has it: closing the
    report does not close it, as there may be another report about it."""

    envelope: Envelope
    content: IContent


async def make(
    message: Reported, to: Address, outcomes: Sequence[Outcome], issuer: Issuer, *, id: str, now: float,
    until: float | None = None, tried: float | None = None, whole: bool = False, bound: int = MAX_RETURNED,
) -> Report:
    """A report to `to` about these outcomes; `id` is its own and new: it keeps the parts apart.

    `until` is when a delayed message is given up, `tried` when it was tried last (None: now; 0: not known).  `whole`:
    the message is returned whatever RET and `bound` say (S-128).  Raises StoreUnavailable when the message cannot be
    read.
    """
    head = await read_head(message.content)
    head = head[: header_end(head)]
    utf8 = "SMTPUTF8" in message.parameters or not all(
        address.local.isascii() for address in (to, *(outcome.recipient.address for outcome in outcomes))
    )
    returned = _Returned(message, head, utf8)
    eight = await returned.choose(whole, kind_of(outcomes) == "failed", bound)
    boundary = f"=_{id}_report"
    text = letter(
        [_shown(one) for one in outcomes], issuer.texts, host=issuer.hostname,
        until=rfc5322(until, issuer.zone).decode("ascii") if until is not None else "", about=_about(message, head),
    )  # fmt: skip
    machine = delivery_status(message, outcomes, issuer, tried=now if tried is None else tried, until=until, utf8=utf8)
    front = (
        _header(to, outcomes, issuer, head, id=id, now=now, boundary=boundary)
        + _part(boundary, b"text/plain; charset=utf-8", *_encoded(text))
        + _part(boundary, b"message/global-delivery-status" if utf8 else b"message/delivery-status",
                b"7bit" if machine.isascii() else b"8bit", machine)
        + _part(boundary, returned.type, returned.encoding, b"")
    )  # fmt: skip
    end = b"\r\n--%b--\r\n" % boundary.encode("ascii")
    parameters = {} if front.isascii() and not eight else {"BODY": returned.body}
    if not to.local.isascii():
        parameters["SMTPUTF8"] = ""
    envelope = Envelope(None, (Recipient(to, {"NOTIFY": "NEVER"}),), parameters)
    return Report(envelope, _Joined((MemoryContent(front), returned.content, MemoryContent(end))))


def delivery_status(
    message: Reported, outcomes: Sequence[Outcome], issuer: Issuer, *, tried: float,
    until: float | None = None, utf8: bool = False,
) -> bytes:
    """The part for programs: fields of the message, then of each recipient (RFC 3464 section 2)."""
    lines = [f"Reporting-MTA: dns; {_host(issuer.hostname, utf8)}"]
    envid = message.parameters.get("ENVID", "")
    if envid:
        lines.insert(0, _field("Original-Envelope-Id", _xtext(envid), utf8))
    if message.arrived:
        lines.append("Arrival-Date: " + rfc5322(message.arrived, issuer.zone).decode("ascii"))
    if message.id:
        lines.append(_field("X-Mailsrv-Id", message.id, False))
    for outcome in outcomes:
        lines.append("")
        lines += _recipient(outcome, utf8)
        if outcome.action in ("failed", "delayed") and tried:
            lines.append("Last-Attempt-Date: " + rfc5322(tried, issuer.zone).decode("ascii"))
        if outcome.action == "delayed" and until is not None:
            lines.append("Will-Retry-Until: " + rfc5322(until, issuer.zone).decode("ascii"))
    return "".join(line + "\r\n" for line in lines).encode("utf-8", "replace")


def print_address(address: Address, *, ascii_domain: bool = False) -> str:
    """The address as in a path; the domain in A-labels where asked for and possible."""
    local, domain = address.local, _ascii(address.domain) if ascii_domain else address.domain
    if not _ATOMS.fullmatch(local):
        local = '"' + re.sub(r'(["\\])', r"\\\1", harmless(local, 250)) + '"'
    return f"{local}@{domain}" if domain else local


# ---------------------------------------------------------------- what it is about


class _Returned:
    """The third part: the message, or its header."""

    def __init__(self, message: Reported, head: bytes, utf8: bool) -> None:
        self._message, self._head, self._utf8 = message, head, utf8
        self.content: IContent = message.content
        self.type, self.encoding, self.body = b"message/rfc822", b"7bit", "8BITMIME"

    async def choose(self, whole: bool, failed: bool, bound: int) -> bool:
        """Decide on message or header (RFC 3461 section 4.3: RET is for failures); True: it has 8-bit octets."""
        parameters, content = self._message.parameters, self._message.content
        binary = parameters.get("BODY", "").upper() == "BINARYMIME"
        asked = failed and parameters.get("RET", "FULL").upper() == "FULL" and content.size <= bound
        if not whole and (binary or not asked):
            kept = self._head[:MAX_HEADER]
            kept = kept[: kept.rfind(b"\n") + 1].removesuffix(b"\r\n\r\n")
            self.type = b"message/global-headers" if self._utf8 else b"text/rfc822-headers"
            self.content = MemoryContent(kept if kept.endswith(b"\n") or not kept else kept + b"\r\n")
            eight = not kept.isascii()
        else:
            self.type = b"message/global" if self._utf8 else b"message/rfc822"
            eight = binary or await _eight_bit(content)
        # Octets that are no text have no other way (RFC 3030 section 3); only a copy for the administrator has them.
        self.encoding = b"binary" if whole and binary else b"8bit" if eight else b"7bit"
        self.body = "BINARYMIME" if whole and binary else "8BITMIME"
        return eight


async def _eight_bit(content: IContent) -> bool:
    for at in range(0, content.size, _SLICE):
        if not (await content.read(at, _SLICE)).isascii():
            return True
    return False


def _about(message: Reported, head: bytes) -> list[str]:
    """Lines by which people know the message again."""
    found = []
    for name in ("Subject", "Date", "To"):
        value = next(iter(values(head, name.encode("ascii"))), b"")
        if value:
            found.append(f"{name}: {harmless(decode(value[:2000]), MAX_SUBJECT)}")
    return [*found, f"Id: {message.id}"] if message.id else found


# ---------------------------------------------------------------- pieces


def _header(
    to: Address, outcomes: Sequence[Outcome], issuer: Issuer, head: bytes, *, id: str, now: float, boundary: str
) -> bytes:
    """The report's own header with its blank line (RFC 3834 section 3.1 for Auto-Submitted and References)."""
    host = _ascii(issuer.hostname)
    lines = [
        f"From: Mail delivery at {host} <{print_address(issuer.sender, ascii_domain=True)}>",
        f"To: <{print_address(to, ascii_domain=True)}>",
        "Subject: " + _subject(issuer.texts.subject[kind_of(outcomes)]),
        "Date: " + rfc5322(now, issuer.zone).decode("ascii"),
        f"Message-ID: <{id}@{host}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
    ]
    if issuer.reply_to is not None:
        lines.insert(2, f"Reply-To: <{print_address(issuer.reply_to, ascii_domain=True)}>")
    original = next(iter(values(head, b"message-id")), b"")
    if _MESSAGE_ID.fullmatch(original):
        lines += ["In-Reply-To: " + original.decode("ascii"), "References: " + original.decode("ascii")]
    return "".join(line + "\r\n" for line in lines).encode("utf-8") + b"\r\n"


def _subject(text: str) -> str:
    """As it is, or as encoded words (RFC 2047) of whole characters."""
    text = harmless(text, MAX_SUBJECT)
    if text.isascii():
        return text
    pieces = [text[at : at + 10].encode("utf-8") for at in range(0, len(text), 10)]
    return "\r\n ".join(f"=?utf-8?b?{binascii.b2a_base64(one, newline=False).decode()}?=" for one in pieces)


def _part(boundary: str, kind: bytes, encoding: bytes, body: bytes) -> bytes:
    mark = boundary.encode("ascii")
    return b"\r\n--%b\r\nContent-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (mark, kind, encoding, body)


def _encoded(text: str) -> tuple[bytes, bytes]:
    """(encoding, octets) of the part for people: quoted-printable if it is not plain ASCII."""
    if text.isascii():
        return b"7bit", text.encode("ascii")
    lines = [binascii.b2a_qp(line.encode("utf-8", "replace"), istext=True) for line in text.split("\r\n")]
    return b"quoted-printable", b"\r\n".join(lines).replace(b"=\n", b"=\r\n")


def _recipient(outcome: Outcome, utf8: bool) -> list[str]:
    """The fields of one recipient, without dates."""
    lines = []
    kind, address = _original(outcome.recipient, utf8)
    if kind:
        lines.append(_field("Original-Recipient", f"{kind}; {address}", utf8))
    status = status_of(outcome)
    lines += [_field("Final-Recipient", _typed(outcome.recipient.address, utf8), utf8),
              f"Action: {outcome.action}", f"Status: {status}"]  # fmt: skip
    if outcome.host:
        lines.append(_field("Remote-MTA", "dns; " + _host(outcome.host, utf8), utf8))
    if outcome.reply:
        # Words of our own are no reply of SMTP.
        lines.append(_field("Diagnostic-Code", ("smtp; " if spoken(outcome) else "x-mailsrv; ") + outcome.reply, utf8))
    return lines


def _original(recipient: Recipient, utf8: bool) -> tuple[str, str]:
    """Type and address that the sender had in mind (ORCPT), ("", "") when nobody says."""
    kind, _, address = recipient.parameters.get("ORCPT", "").partition(";")
    if kind.lower() != "utf-8":
        address = _xtext(address)
    elif utf8:
        address = _UNITEXT.sub(lambda found: _character(found[1]), address)
    return kind, address


def _shown(outcome: Outcome) -> tuple[str, str, Outcome]:
    """For people: the address, and that which the sender knows if it is another."""
    address = outcome.recipient.address
    kind, original = _original(outcome.recipient, True)
    same = (print_address(address).lower(), print_address(address, ascii_domain=True).lower())
    known = kind.lower() in ("rfc822", "utf-8") and original.lower() not in same
    return print_address(address), original if known else "", outcome


def _typed(address: Address, utf8: bool) -> str:
    """Address type and address (RFC 6533 section 3)."""
    if address.local.isascii():
        return "rfc822; " + print_address(address, ascii_domain=True)
    text = print_address(address)
    if not utf8:
        text = "".join(c if "!" <= c <= "~" and c not in "+=\\" else f"\\x{{{ord(c):02X}}}" for c in text)
    return "utf-8; " + text


def _field(name: str, value: str, utf8: bool) -> str:
    """A field, folded between words; characters that cannot be there are "?"."""
    text = harmless(value)
    if not utf8:
        text = text.encode("ascii", "replace").decode("ascii")
    lines, used = [], f"{name}:"
    for word in _WORDS.findall(text):
        if len(used) + len(word) > 76 and used.strip() != f"{name}:":
            lines.append(used)
            used = ""
        used += " " + word
    return "\r\n".join([*lines, used])


def _xtext(text: str) -> str:
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)


def _character(digits: str) -> str:
    number = int(digits, 16)
    return chr(number) if number <= 0x10FFFF else "?"


def _host(name: str, utf8: bool) -> str:
    return harmless(name, 255) if utf8 else _ascii(name)


def _ascii(domain: str) -> str:
    """A domain in A-labels (RFC 5890), "localhost" for what is none."""
    text = a_labels(domain)
    return re.sub(r"[^A-Za-z0-9.:\[\]_-]", "?", text[:255]) or ("localhost" if domain else "")


@implementer(IContent)
class _Joined:
    """Contents one after the other; none of them is closed with it."""

    __slots__ = ("_pieces", "size")

    def __init__(self, pieces: Sequence[IContent]) -> None:
        self._pieces = pieces
        self.size: int = sum(piece.size for piece in pieces)

    def chunks(self) -> Iterator[bytes]:
        for piece in self._pieces:
            yield from piece.chunks()

    async def read(self, offset: int, length: int) -> bytes:
        found: list[bytes] = []
        offset, end = max(offset, 0), min(max(offset, 0) + length, self.size)
        start = 0
        for piece in self._pieces:
            first, last = max(offset, start), min(end, start + piece.size)
            if first < last:
                found.append(await piece.read(first - start, last - first))
            start += piece.size
        return b"".join(found)

    def close(self) -> None:
        """Nothing to let go of."""
