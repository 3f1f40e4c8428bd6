"""A message without MIME (floor 1): its text, then its attachments in UUENCODE or BinHex 4.0 (S-157, S-158)."""

from __future__ import annotations

from attrs import evolve

from .. import header
from .appledouble import MacFile, read_apple_file
from .binhex import binhexed, kind_of
from .bodies import PLAIN, Untouchable, honest
from .leaf import encoding_of, is_identity, unicode_text, written
from .names import safe_name
from .tree import Node, data_of, replaced
from .uuencode import harmless, uuencoded

#: Parts that are text for people, whatever they are called.
_READABLE = frozenset({b"message/delivery-status", b"message/disposition-notification", b"text/rfc822-headers"})
_APPLE_FILE = b"application/applefile"


def flat(octets: bytes, root: Node, charset: str, binhex: bool) -> bytes:
    """The whole message, of a tree whose text is plain already.

    The text has `charset`, or UTF-8; the message has one part, in 7bit or 8bit.  Raises Untouchable for a message with
    a part that cannot be read.
    """
    if root.is_stored_root and root.media.name == PLAIN and is_identity(encoding_of(root.fields)):
        if honest(root) and not root.is_attachment:
            return octets
    found = _Gathered(octets, binhex)
    found.add(root)
    text = harmless("\n\n".join([text.strip("\n") for text in found.texts if text.strip()]) + "\n")
    names = [file.name for file in found.files]
    # Names are written in the charset of the text around them.
    label = written(text + "".join(names), charset)[1]
    pieces = [written(text, label.decode("ascii"))[0]]
    for file in found.files:
        name = written(file.name, label.decode("ascii"))[0]
        pieces.append(b"\r\n" if pieces[-1] else b"")
        pieces += (binhexed(file),) if binhex else (b"begin 644 ", name, b"\r\n", uuencoded(file.data))
    whole = b"".join(pieces)
    lines = [
        (b"MIME-Version", b"1.0"),
        (b"Content-Type", b"text/plain; charset=" + label),
        (b"Content-Transfer-Encoding", b"7bit" if whole.isascii() else b"8bit"),
    ]
    return replaced(octets[: header.header_end(octets)], lines, everything=True) + whole


class _Gathered:
    """The texts and files of a message, in its order."""

    def __init__(self, octets: bytes, binhex: bool) -> None:
        self._octets = octets
        self._binhex = binhex
        self.texts: list[str] = []
        self.files: list[MacFile] = []

    def add(self, node: Node) -> None:
        """A part, and what is in it.  Raises Untouchable."""
        if node.media.name == b"multipart/appledouble" and len(node.children) == 2:
            self._double(*node.children)
        elif node.children:
            for child in node.children:
                self.add(child)
        elif not node.is_message and not honest(node):
            # A multipart without parts.
            raise Untouchable
        elif (node.media.name == PLAIN or node.media.name in _READABLE) and not node.is_attachment:
            self.texts.append(unicode_text(self._data(node), node.media))
        else:
            self._file(node, self._data(node))

    def _data(self, node: Node) -> bytes:
        data = data_of(self._octets, node)
        if data is None:
            raise Untouchable
        return data

    def _file(self, node: Node, data: bytes) -> None:
        name = self._name(node.file_name, node)
        found = read_apple_file(data) if node.media.name == _APPLE_FILE else None
        if found is not None and (found.data or found.resource):
            name = self._name(found.name or node.file_name, node)
            self.files.append(evolve(found, name=name))
        else:
            kind, creator = kind_of(name)
            self.files.append(MacFile(data, name=name, kind=kind, creator=creator))

    def _double(self, head: Node, node: Node) -> None:
        """A file whose resource fork came beside it (RFC 1740 section 4)."""
        found = read_apple_file(self._data(head))
        data = self._data(node)
        if found is None:
            self._file(head, self._data(head))
            self._file(node, data)
        else:
            name = self._name(node.file_name or head.file_name or found.name, node)
            self.files.append(evolve(found, data=data, name=name))
            if found.resource and not self._binhex:
                # UUENCODE has no place for it: it travels as systems without forks keep it.
                self.files.append(MacFile(self._data(head), name="._" + name))

    def _name(self, name: str | None, node: Node) -> str:
        return safe_name(name, node.media.name, len(self.files) + 1)
