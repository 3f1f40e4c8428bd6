"""Messages in the format of a server (floor 1): S-154..S-163.

`render` is pure: equal octets and equal fingerprints give equal renderings, in every process and version of Python.
"""

from __future__ import annotations

from ..parameters import disposition
from ..structure import MULTIPART, Part, parse
from .bodies import HTML, PLAIN, Bodies, Untouchable
from .flat import flat
from .names import UNTYPED, type_of
from .options import FormatOptions
from .tree import MAX_PARTS, Node, octets_of, retyped, rewritten, tree_of, with_children
from .unpack import Unpacker

#: Octets of the largest message that is rendered; a larger one is served as it is stored.
MAX_OCTETS = 64 * 2**20

#: Signed or encrypted: whoever changes these breaks them.
_PROTECTED = frozenset(
    b"multipart/signed multipart/encrypted application/pkcs7-mime application/x-pkcs7-mime application/pkcs7-signature "
    b"application/x-pkcs7-signature application/pgp application/pgp-encrypted application/pgp-signature".split()
)
_PROTECTED_ENDINGS = ("p7m", "p7s", "p7c", "p7z")


def render(octets: bytes, options: FormatOptions) -> bytes:
    """The message as a server with these options serves it; the same object where nothing is to be changed.

    Never raises.  Signed and encrypted messages, and those beyond the limits, stay as they are; so do parts that
    cannot be read.  The caller runs it where it blocks nobody: a mebibyte of HTML takes some tenths of a second.
    """
    if options.stored or len(octets) > MAX_OCTETS:
        return octets
    root = parse(octets)
    if not _can_be_rendered(root):
        return octets
    try:
        tree = _rendered(octets, tree_of(root), options)
        if options.attachments != "mime":
            return flat(octets, tree, options.charset, options.attachments == "binhex")
    except Untouchable:
        return octets
    return octets_of(octets, tree)


def _rendered(octets: bytes, tree: Node, options: FormatOptions) -> Node:
    if options.unpacks:
        tree = Unpacker(octets, options.charset).node(tree)
    if options.attachments != "mime" or options.body != "both":
        form = HTML if options.body == "html" and options.attachments == "mime" else PLAIN
        tree = Bodies(octets, form, options.charset, flowed=options.attachments == "mime").node(tree)
    if options.retypes:
        tree = _typed(octets, tree)
    return tree


def _can_be_rendered(root: Part) -> bool:
    """Whether the message is small enough in parts, and nothing in it outside of messages inside is protected."""
    waiting, count = [root], 0
    while waiting:
        part = waiting.pop()
        count += 1
        if part.media.name in _PROTECTED or count > MAX_PARTS:
            return False
        if part.kind == MULTIPART:
            waiting += part.children
        elif part.media.name in UNTYPED:
            # QUIRK: signed mail whose type a gateway did not know (RFC 8551 section 3.9).
            name = (Node(part, part.media, part.fields).file_name or "").lower()
            if name.rpartition(".")[2] in _PROTECTED_ENDINGS:
                return False
    return True


def _typed(octets: bytes, node: Node) -> Node:
    """Attachments without a type of their own have the type of their name (S-155)."""
    if node.is_multipart:
        return with_children(node, [_typed(octets, child) for child in node.children]) if node.children else node
    if node.media.name not in UNTYPED or node.is_message or node.part is None:
        return node
    kind = type_of(node.file_name or "")
    if kind is None:
        return node
    body = octets[node.part.body_start : node.part.body_end]
    new = rewritten(node, retyped(node.media, kind), body, encoded=True)
    if disposition(node.fields.get(b"content-disposition", b"")) is None:
        # What was a file is not shown at once because it has a type now.
        new.lines.append((b"Content-Disposition", b"attachment"))
    return new
