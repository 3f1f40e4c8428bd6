"""ENVELOPE, BODY and BODYSTRUCTURE as IMAP writes them (floor 1): RFC 3501 section 7.4.2, RFC 9051 section 7.5.2."""

from __future__ import annotations

from functools import lru_cache

from .addresses import parse_addresses
from .imap_strings import nstring, parameter_list, string
from .parameters import disposition
from .structure import LEAF, MESSAGE, MULTIPART, Part

#: A multipart without parts must show one (RFC 9051: body-type-mpart is 1*body).
_EMPTY_CORE = b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0'
#: Address fields up to this size are remembered: the same people write and get most mail.
_REMEMBERED = 200
_NO_EXTENSION = b" NIL NIL NIL NIL)"


def envelope(fields: dict[bytes, bytes]) -> bytes:
    """``(date subject from sender reply-to to cc bcc in-reply-to message-id)``."""
    get = fields.get
    author = address_list(get(b"from"))
    sender, reply_to = get(b"sender"), get(b"reply-to")
    # An absent or empty Sender or Reply-To is the From (RFC 9051 section 7.5.2).
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(get(b"date")),
        nstring(get(b"subject")),
        author,
        author if not sender else _or_else(address_list(sender), author),
        author if not reply_to else _or_else(address_list(reply_to), author),
        address_list(get(b"to")),
        address_list(get(b"cc")),
        address_list(get(b"bcc")),
        nstring(get(b"in-reply-to")),
        nstring(get(b"message-id")),
    )


def _or_else(rendered: bytes, author: bytes) -> bytes:
    return author if rendered == b"NIL" else rendered


def address_list(value: bytes | None) -> bytes:
    """``((name route mailbox host)...)`` of an address field's value, or NIL."""
    if not value:
        return b"NIL"
    return _addresses_remembered(value) if len(value) <= _REMEMBERED else _addresses(value)


def _addresses(value: bytes) -> bytes:
    found = parse_addresses(value)
    if not found:
        return b"NIL"
    return b"(%b)" % b"".join(
        [
            b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(mailbox), nstring(host))
            for name, route, mailbox, host in found
        ]
    )


_addresses_remembered = lru_cache(maxsize=2048)(_addresses)


def body_structures(octets: bytes, root: Part) -> tuple[bytes, bytes]:
    """(BODY, BODYSTRUCTURE) of the tree that `octets` were parsed into."""
    if root.kind == LEAF:
        core, extension = _leaf(octets, root)
        return core + b")", core + extension
    order = [root]
    for part in order:
        order.extend(part.children)
    lines = _line_counts(octets, [part for part in order if part.kind == MESSAGE])
    done: dict[int, tuple[bytes, bytes]] = {}
    # Children stand behind their parents in `order`, so that they are ready when the parent's turn comes.
    for part in reversed(order):
        children = [done.pop(id(child)) for child in part.children]
        if part.kind == MULTIPART:
            short = b"".join([child[0] for child in children]) or _EMPTY_CORE + b")"
            full = b"".join([child[1] for child in children]) or _EMPTY_CORE + _NO_EXTENSION
            subtype = part.media.subtype_words
            rest = b" %b%b" % (part.media.parameter_words, _tail(part.fields))
            done[id(part)] = b"(%b %b)" % (short, subtype), b"(%b %b%b" % (full, subtype, rest)
        elif part.kind == MESSAGE:
            inner = part.children[0]
            core = _core(part) + b" " + envelope(inner.fields) + b" "
            count, extension = lines[part.body_start, part.body_end], _extension(part.fields)
            done[id(part)] = (
                b"%b%b %d)" % (core, children[0][0], count),
                b"%b%b %d%b" % (core, children[0][1], count, extension),
            )
        else:
            core, extension = _leaf(octets, part)
            done[id(part)] = core + b")", core + extension
    return done[id(root)]


def _leaf(octets: bytes, part: Part) -> tuple[bytes, bytes]:
    """A leaf without its closing, and what BODYSTRUCTURE adds with the closing."""
    core = _core(part)
    if part.media.name.startswith(b"text/"):
        core = b"%b %d" % (core, octets.count(b"\n", part.body_start, part.body_end))
    return core, _extension(part.fields)


def _core(part: Part) -> bytes:
    """``("type" "subtype" params id description "encoding" octets``, body-fields of RFC 9051."""
    get = part.fields.get
    found = get(b"content-transfer-encoding")
    encoding = _encoding(found) if found else b'"7BIT"'
    identifier, description = get(b"content-id"), get(b"content-description")
    size = part.body_end - part.body_start
    if identifier is None and description is None:
        return b"(%b %b %b NIL NIL %b %d" % (*_media_words(part), encoding, size)
    return b"(%b %b %b %b %b %b %d" % (
        *_media_words(part), nstring(identifier), nstring(description), encoding, size,
    )  # fmt: skip


def _media_words(part: Part) -> tuple[bytes, bytes, bytes]:
    found = part.media
    return found.type_words, found.subtype_words, found.parameter_words


def _encoding(value: bytes) -> bytes:
    """A Content-Transfer-Encoding; what is no single token is cut to its first."""
    words = value.partition(b"(")[0].split(None, 1)
    # QUIRK: "Content-Transfer-Encoding: quoted-printable; charset=..." of form mailers.
    return string(words[0].rstrip(b";,")) if words and words[0].rstrip(b";,") else b'"7BIT"'


def _extension(fields: dict[bytes, bytes]) -> bytes:
    """`` md5 disposition language location)`` of a single part."""
    return b" %b%b" % (nstring(fields.get(b"content-md5")), _tail(fields))


def _tail(fields: dict[bytes, bytes]) -> bytes:
    """`` disposition language location)``."""
    shown, language = fields.get(b"content-disposition"), fields.get(b"content-language")
    location = fields.get(b"content-location")
    if shown is None and language is None and location is None:
        return b" NIL NIL NIL)"
    return b" %b %b %b)" % (_disposition(shown), _language(language), nstring(location))


def _disposition(value: bytes | None) -> bytes:
    found = disposition(value) if value else None
    return b"NIL" if found is None else b"(%b %b)" % (string(found[0]), parameter_list(found[1]))


def _language(value: bytes | None) -> bytes:
    """One tag, or a list of tags (RFC 3282)."""
    tags = [string(tag.strip()) for tag in (value or b"").split(b",")[:100] if tag.strip()]
    if not tags:
        return b"NIL"
    return tags[0] if len(tags) == 1 else b"(%b)" % b" ".join(tags)


def _line_counts(octets: bytes, messages: list[Part]) -> dict[tuple[int, int], int]:
    """Line ends in the body of each of these, which may lie in each other: every octet is counted once."""
    spans = {(part.body_start, part.body_end) for part in messages}
    counted: dict[int, int] = {}
    at = total = 0
    for mark in sorted({mark for span in spans for mark in span}):
        total += octets.count(b"\n", at, mark)
        counted[mark] = total
        at = mark
    return {span: counted[span[1]] - counted[span[0]] for span in spans}
