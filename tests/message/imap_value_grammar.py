"""Reads a parenthesised IMAP value strictly, and checks the shapes of RFC 9051 section 9 (formal syntax)."""

from __future__ import annotations

from typing import Any


class Malformed(Exception):
    """The octets are not what the grammar says."""


def read_value(octets: bytes) -> Any:
    """Nested lists of bytes, ints and None; iterative, so that depth does not matter."""
    stack: list[list[Any]] = [[]]
    at = 0
    while at < len(octets):
        octet = octets[at : at + 1]
        if octet == b"(":
            stack.append([])
            at += 1
        elif octet == b")":
            done = stack.pop()
            if not stack:
                raise Malformed(f"unbalanced at {at}")
            stack[-1].append(done)
            at += 1
        elif octet == b" ":
            if octets[at + 1 : at + 2] in (b" ", b")", b"") or octets[at - 1 : at] == b"(":
                raise Malformed(f"stray space at {at}")
            at += 1
        elif octet == b'"':
            text, at = _quoted(octets, at + 1)
            stack[-1].append(text)
        elif octet == b"{":
            end = octets.index(b"}\r\n", at)
            size = int(octets[at + 1 : end])
            text = octets[end + 3 : end + 3 + size]
            if len(text) != size or b"\0" in text:
                raise Malformed("bad literal")
            stack[-1].append(text)
            at = end + 3 + size
        else:
            end = at
            while end < len(octets) and octets[end] not in b' ()"{':
                end += 1
            word = octets[at:end]
            stack[-1].append(None if word == b"NIL" else int(word))
            at = end
    if len(stack) != 1 or len(stack[0]) != 1:
        raise Malformed("not one value")
    return stack[0][0]


def _quoted(octets: bytes, at: int) -> tuple[bytes, int]:
    out = bytearray()
    while True:
        octet = octets[at]
        if octet == 0x22:
            return bytes(out), at + 1
        if octet == 0x5C:
            at += 1
            octet = octets[at]
            if octet not in b'"\\':
                raise Malformed("bad escape")
        elif octet in b"\r\n\0" or octet > 127:
            raise Malformed("octet that no quoted string may hold")
        out.append(octet)
        at += 1


def check_envelope(value: Any) -> None:
    """Ten members: nstrings and address lists."""
    assert isinstance(value, list) and len(value) == 10
    for number in (0, 1, 8, 9):
        assert value[number] is None or isinstance(value[number], bytes)
    for number in range(2, 8):
        addresses = value[number]
        assert addresses is None or (isinstance(addresses, list) and addresses)
        for address in addresses or ():
            assert len(address) == 4 and all(item is None or isinstance(item, bytes) for item in address)
    # From, Sender and Reply-To stand for each other.
    assert value[2] is None or (value[3] and value[4])


def check_body(value: Any, extended: bool) -> None:
    """A body with or without extension data; iterative."""
    waiting = [value]
    while waiting:
        body = waiting.pop()
        assert isinstance(body, list)
        if isinstance(body[0], list):
            count = 0
            while isinstance(body[count], list):
                waiting.append(body[count])
                count += 1
            rest = body[count:]
            assert isinstance(rest[0], bytes)
            assert len(rest) == (5 if extended else 1)
            if extended:
                _check_parameters(rest[1])
                _check_tail(rest[2:])
            continue
        kind, subtype, parameters, identifier, description, encoding, size, *rest = body
        assert isinstance(kind, bytes) and isinstance(subtype, bytes)
        _check_parameters(parameters)
        assert identifier is None or isinstance(identifier, bytes)
        assert description is None or isinstance(description, bytes)
        assert isinstance(encoding, bytes) and encoding
        assert isinstance(size, int) and size >= 0
        if kind.lower() == b"message" and subtype.lower() in (b"rfc822", b"global"):
            check_envelope(rest.pop(0))
            waiting.append(rest.pop(0))
            assert isinstance(rest.pop(0), int)
        elif kind.lower() == b"text":
            assert isinstance(rest.pop(0), int)
        assert len(rest) == (4 if extended else 0)
        if extended:
            assert rest[0] is None or isinstance(rest[0], bytes)
            _check_tail(rest[1:])


def _check_parameters(value: Any) -> None:
    assert value is None or (value and len(value) % 2 == 0 and all(isinstance(item, bytes) for item in value))


def _check_tail(value: Any) -> None:
    disposition, language, location = value
    if disposition is not None:
        assert len(disposition) == 2 and isinstance(disposition[0], bytes)
        _check_parameters(disposition[1])
    assert language is None or isinstance(language, bytes) or (len(language) > 1)
    assert location is None or isinstance(location, bytes)
