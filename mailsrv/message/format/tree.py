"""A message that is being rendered (floor 1): a tree of parts as stored, rewritten and new, and its octets.

What is not rewritten is taken from the stored octets as it is: headers, bodies, preambles, delimiters.
"""

from __future__ import annotations

import hashlib

from .. import header
from ..parameters import Media, Parameters, disposition, parameter_text
from ..structure import MESSAGE, MULTIPART, Part
from .leaf import decoded, encoding_of, transfer

#: Parts of the largest message that is rendered.
MAX_PARTS = 2000
_TOKEN = b"!#$%&'*+-.^_`{|}~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: Fields that are about octets which are no longer there.
_STALE = frozenset({b"content-md5", b"content-length", b"lines"})


class Node:
    """One part.  `part` is the stored one, None for a new one; `lines` are Content fields of a new or rewritten part.

    `children` belong to a multipart; `body` is a rewritten leaf's.  `changed`: the octets differ from the stored ones;
    `rebuilt`: a multipart with other children or another type, which needs a boundary of its own.
    """

    __slots__ = ("body", "changed", "children", "fields", "lines", "media", "part", "rebuilt")

    def __init__(self, part: Part | None, found: Media, fields: dict[bytes, bytes]) -> None:
        self.part = part
        self.media = found
        self.fields = fields
        self.children: list[Node] = []
        self.lines: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.changed = self.rebuilt = False

    @property
    def is_multipart(self) -> bool:
        """Whether it has parts."""
        return self.media.name.startswith(b"multipart/")

    @property
    def is_stored_root(self) -> bool:
        """Whether it is the whole message as it is stored."""
        return self.part is not None and self.part.header_start == 0 and not self.changed

    @property
    def is_message(self) -> bool:
        """Whether it is a message of its own, which nobody looks into."""
        return self.part is not None and self.part.kind == MESSAGE

    @property
    def file_name(self) -> str | None:
        """The name as the sender wrote it: of the disposition, else of the media type."""
        found = disposition(self.fields.get(b"content-disposition", b""))
        name = parameter_text(found[1], b"filename") if found else None
        return name or parameter_text(self.media.parameters, b"name")

    @property
    def is_attachment(self) -> bool:
        """Whether it is no part of the text that people read at once: it says so, or it has a file name."""
        found = disposition(self.fields.get(b"content-disposition", b""))
        return bool(found and found[0].lower() not in (b"inline", b"")) or bool(self.file_name)


def tree_of(root: Part) -> Node:
    """The tree of a message as it is stored; messages inside are leaves."""
    node = Node(root, root.media, root.fields)
    if root.kind == MULTIPART:
        node.children = [tree_of(child) for child in root.children]
    return node


def new_leaf(found: Media, body: bytes, *lines: tuple[bytes, bytes]) -> Node:
    """A part of its own making; `lines` are its further fields."""
    node = Node(None, found, {name.lower(): value for name, value in lines})
    node.lines = [(b"Content-Type", type_line(found)), *lines]
    node.body = body
    node.changed = True
    return node


def new_multipart(subtype: bytes, children: list[Node], parameters: Parameters = ()) -> Node:
    """A multipart of its own making."""
    node = Node(None, Media.of(b"multipart", subtype, parameters), {})
    node.children = children
    node.changed = node.rebuilt = True
    return node


def rewritten(node: Node, found: Media, octets: bytes, encoded: bool = False) -> Node:
    """A leaf with another text: media type, body, and encoding change, its other fields stay.

    `encoded`: the octets have the transfer encoding that the part says.
    """
    new = Node(node.part, found, node.fields)
    new.lines = [(b"Content-Type", type_line(found))]
    if not encoded:
        encoding, octets = transfer(octets)
        new.lines.append((b"Content-Transfer-Encoding", encoding))
        new.fields = {**node.fields, b"content-transfer-encoding": encoding}
    new.body = octets
    new.changed = True
    return new


def with_children(node: Node, children: list[Node], subtype: bytes = b"", parameters: Parameters = ()) -> Node:
    """A multipart with these children; with another `subtype` or number of children it is rebuilt."""
    if not subtype and len(children) == len(node.children):
        if all(new is old for new, old in zip(children, node.children)):
            return node
        new = Node(node.part, node.media, node.fields)
        new.rebuilt = node.rebuilt
    else:
        subtype = subtype or node.media.name.partition(b"/")[2]
        new = Node(node.part, Media.of(b"multipart", subtype, parameters), node.fields)
        new.rebuilt = True
    new.children = children
    new.changed = True
    return new


def data_of(octets: bytes, node: Node) -> bytes | None:
    """A leaf's content without its transfer encoding; None for an encoding nobody knows."""
    encoding = encoding_of(node.fields)
    if node.part is None or node.changed:
        return decoded(node.body, encoding)
    body = octets[node.part.body_start : node.part.body_end]
    # A message inside has no encoding (RFC 2046 section 5.2.1).
    return body if node.is_message and encoding not in (b"base64", b"quoted-printable") else decoded(body, encoding)


def type_line(found: Media) -> bytes:
    """A Content-Type field's value, folded where it is long."""
    line = found.name
    used = len(line) + 14
    for name, value in found.parameters:
        if not value or value.translate(None, _TOKEN):
            value = value.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b"")
            value = b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        fold = used + len(name) + len(value) + 3 > 76
        line += (b";\r\n " if fold else b"; ") + name + b"=" + value
        used = (0 if fold else used) + len(name) + len(value) + 3
    return line


def retyped(found: Media, name: bytes, **parameters: bytes | None) -> Media:
    """A media type with another name and some parameters set, or taken away (None)."""
    kept = [(key, value) for key, value in found.parameters if key.lower().decode("latin-1") not in parameters]
    first = [(key.encode("ascii"), value) for key, value in parameters.items() if value is not None]
    kind, _, subtype = name.partition(b"/")
    return Media.of(kind, subtype, (*first, *kept))


def octets_of(octets: bytes, root: Node) -> bytes:
    """The whole message that a tree stands for, of the stored `octets`."""
    if root.is_stored_root:
        return octets
    return _Writer(octets).message(root)


class _Writer:
    """Writes changed parts."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def message(self, root: Node) -> bytes:
        """The whole message: the stored header with the Content fields of the new root."""
        body, lines = self._body(root)
        top = root.part is not None and root.part.header_start == 0
        whole = self._octets
        block = whole[: header.header_end(whole)]
        if root.part is not None and not top:
            lines = _content_lines(self._block(root), lines)
        if not header.values(block, b"mime-version"):
            lines = [(b"MIME-Version", b"1.0"), *lines]
        block = replaced(block, lines, everything=not top)
        if body and not body.endswith(b"\n"):
            body += b"\r\n"
        return block + body

    def _block(self, node: Node) -> bytes:
        part = node.part
        return self._octets[part.header_start : part.body_start] if part is not None else b""

    def _body(self, node: Node) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """A part's body, and the fields that it needs instead of the stored ones."""
        part = node.part
        if part is not None and not node.changed:
            return self._octets[part.body_start : part.body_end], []
        if not node.is_multipart:
            return node.body, node.lines
        if part is not None and not node.rebuilt:
            return self._around(node, part), []
        entities = [self._entity(child) for child in node.children]
        # Of what it is to be told from: the same every time, and nobody can write it before.
        digest = hashlib.sha256()
        for entity in entities:
            digest.update(entity)
        boundary = b"=_" + digest.hexdigest()[:32].encode("ascii")
        pieces: list[bytes] = []
        for entity in entities:
            pieces += (b"--", boundary, b"\r\n", entity, b"\r\n")
        pieces += (b"--", boundary, b"--\r\n")
        body = b"".join(pieces)
        lines = [(b"Content-Type", type_line(retyped(node.media, node.media.name, boundary=boundary)))]
        lines.append((b"Content-Transfer-Encoding", b"7bit" if body.isascii() else b"8bit"))
        return body, lines

    def _around(self, node: Node, part: Part) -> bytes:
        """A stored multipart with rewritten children: all between them stays."""
        pieces: list[bytes] = []
        at = part.body_start
        for child, stored in zip(node.children, part.children):
            pieces += (self._octets[at : stored.header_start], self._entity(child))
            at = stored.body_end
        pieces.append(self._octets[at : part.body_end])
        return b"".join(pieces)

    def _entity(self, node: Node) -> bytes:
        """A part's header and body."""
        if not node.changed and node.part is not None:
            return self._octets[node.part.header_start : node.part.body_end]
        body, lines = self._body(node)
        return replaced(self._block(node) or b"\r\n", lines) + body


def _content_lines(block: bytes, lines: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The Content fields of a part's header where `lines` are newer."""
    newer = {name.lower() for name, _ in lines}
    kept = [
        (block[one.start : one.value - 1].rstrip(), block[one.value : one.end].strip())
        for one in header.fields(block)
        if one.name.startswith(b"content-") and one.name not in newer and one.name not in _STALE
    ]
    return lines + kept


def replaced(block: bytes, lines: list[tuple[bytes, bytes]], everything: bool = False) -> bytes:
    """A header block where these fields have these values; `everything`: no other Content field stays.

    Each stands where the first of its name stood, else at the end; the blank line stays last.
    """
    if not lines and not everything:
        return block
    wanted = {name.lower(): b"%b: %b\r\n" % (name, value) for name, value in lines}
    pieces: list[bytes] = []
    at = 0
    for one in header.fields(block):
        stale = one.name in _STALE or (everything and one.name.startswith(b"content-"))
        if one.name not in wanted and not stale:
            continue
        pieces += (block[at : one.start], wanted.get(one.name, b""))
        wanted[one.name] = b""
        at = one.end
    rest = block[at:]
    # A part that was cut off may have no blank line.
    blank = next((end for end in (b"\r\n", b"\n") if rest == end or rest.endswith(b"\n" + end)), b"")
    rest = rest[: len(rest) - len(blank)]
    pieces.append(rest)
    if any(wanted.values()):
        if rest and not rest.endswith(b"\n"):
            pieces.append(b"\r\n")
        pieces += wanted.values()
    return b"".join(pieces) + (blank or b"\r\n")
