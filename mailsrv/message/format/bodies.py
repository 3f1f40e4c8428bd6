"""One form of a message's text (floor 1): S-159, S-160, S-163, multipart/alternative and multipart/related.

Only text that people read at once is rewritten, and only the other form of a text is left out.  Attachments, pictures
and messages inside are all still there.
"""

from __future__ import annotations

import re

from ...errors import Refused
from ..charsets import ascii_compatible
from ..charsets import codec as known
from ..parameters import Media
from .html_text import html_to_text
from .layout import Block, lay_out
from .leaf import MAX_MARKS, MAX_TEXT, marks, unicode_text, written
from .options import codec_of
from .rtf import rtf_to_text
from .text_html import text_to_html
from .tree import Node, data_of, new_multipart, retyped, rewritten, with_children

PLAIN, HTML, RTF = b"text/plain", b"text/html", b"text/rtf"
_FORMS = frozenset({PLAIN, HTML, RTF})
#: Multiparts whose parts belong together in a way that only their maker knows.
_CLOSED = frozenset({b"multipart/appledouble", b"multipart/encrypted", b"multipart/signed", b"multipart/form-data"})

_PGP = re.compile(rb"^-----BEGIN PGP (?:SIGNED )?MESSAGE-----", re.MULTILINE)
_META = re.compile(rb"<meta\s[^>]{0,500}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_META_TEXT = re.compile(r"(<meta\s[^>]{0,500}?charset\s*=\s*[\"']?\s*)([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
#: Where a declaration in HTML counts (browsers read 1024 octets).
_META_WITHIN = 4096


class Untouchable(Refused):
    """The message is signed or encrypted in its text: it stays as it is."""


class Bodies:
    """Rewrites the texts of one message to one form and one charset; `form` is PLAIN or HTML.

    Plain text made here is format=flowed where `flowed`.
    """

    def __init__(self, octets: bytes, form: bytes, charset: str, flowed: bool = True) -> None:
        self._octets = octets
        self._form = form
        self._charset = charset
        self._flowed = flowed
        self._left = MAX_MARKS

    def node(self, node: Node) -> Node:
        """The same part with its texts in that form.  Raises Untouchable."""
        if not node.is_multipart:
            return self._leaf(node)
        if node.media.name in _CLOSED or not node.children:
            return node
        if node.media.name == b"multipart/alternative":
            return self._alternative(node)
        if node.media.name == b"multipart/related":
            return self._related(node)
        children: list[Node] = []
        for child in node.children:
            new = self.node(child)
            # What became a row of parts stands in this one.
            inner = new.rebuilt and new.media.name == node.media.name == b"multipart/mixed"
            children += new.children if inner else (new,)
        return with_children(node, children)

    def _alternative(self, node: Node) -> Node:
        """The last of the alternatives that has the form, or can have it, and those that are no such text."""
        forms = [forms_of(child) for child in node.children]
        having = [at for at, found in enumerate(forms) if self._form in found]
        chosen = (having or [at for at, found in enumerate(forms) if found] or [-1])[-1]
        if chosen < 0:
            return node
        kept: list[Node] = []
        lifted: list[Node] = []
        for at, child in enumerate(node.children):
            if at == chosen:
                kept.append(self.node(child))
            elif not forms[at]:
                kept.append(child)
            else:
                lifted += others(child)
        found = kept[0] if len(kept) == 1 else with_children(node, kept)
        return new_multipart(b"mixed", [found, *lifted]) if lifted else found

    def _related(self, node: Node) -> Node:
        """The root first; when it refers to nothing any more, its parts stand beside it."""
        root = root_of(node)
        new = self.node(root)
        if new is root:
            return node
        rest = [child for child in node.children if child is not root]
        if new.media.name == PLAIN:
            return with_children(node, [new, *rest], b"mixed") if rest else new
        if new.media.name == root.media.name and node.children[0] is root:
            return with_children(node, [new, *rest])
        return with_children(node, [new, *rest], b"related", ((b"type", new.media.name),))

    def _leaf(self, node: Node) -> Node:
        if node.media.name not in _FORMS or node.is_attachment or not honest(node):
            return node
        data = data_of(self._octets, node)
        if data is None or len(data) > MAX_TEXT:
            return node
        if b"-----BEGIN PGP " in data and _PGP.search(data):
            raise Untouchable
        cost = marks(data)
        if cost > self._left:
            return node
        self._left -= cost
        if node.media.name == self._form:
            return self._recoded(node, data)
        flowed = False
        if node.media.name == RTF:
            text = rtf_to_text(data)
        elif node.media.name == HTML:
            text = html_to_text(unicode_text(data, node.media, declared(data)), self._flowed)
            return self._written(node, text, node.media)
        else:
            text = unicode_text(data, node.media)
            flowed = node.media.parameter(b"format").lower() == b"flowed"
        if self._form == HTML:
            delsp = node.media.parameter(b"delsp").lower() == b"yes"
            return self._written(node, text_to_html(text, self._charset, flowed, delsp), node.media)
        return self._written(node, lay_out([Block(line) for line in text.split("\n")], self._flowed), node.media)

    def _recoded(self, node: Node, data: bytes) -> Node:
        """A text that has the form already, in the charset."""
        label = node.media.parameter(b"charset") or (declared(data) if self._form == HTML else b"")
        if data.isascii() and (not label or ascii_compatible(label)):
            return node
        stored = codec_of(label.decode("latin-1"))
        if label and stored == codec_of(self._charset):
            return node
        text = unicode_text(data, node.media, label)
        if (label and known(label) is None) or "\N{REPLACEMENT CHARACTER}" in text:
            # Octets that are not what they are said to be: the client may know better.
            return node
        new = self._written(node, text, node.media)
        # What cannot have the charset, and has the other one already.
        return node if stored == codec_of(new.media.parameter(b"charset").decode("ascii")) else new

    def _written(self, node: Node, text: str, media: Media) -> Node:
        """The part with a new text; a media type that has the form keeps its parameters."""
        if self._form == HTML:
            text = with_declaration(text, self._charset)
        body, charset = written(text, self._charset, references=self._form == HTML)
        if media.name == self._form:
            found = retyped(media, self._form, charset=charset)
        else:
            flowed = b"flowed" if self._flowed and self._form == PLAIN else None
            found = retyped(_BARE[self._form], self._form, charset=charset, format=flowed)
        return rewritten(node, found, body)


_BARE = {PLAIN: Media.of(b"text", b"plain", ()), HTML: Media.of(b"text", b"html", ())}


def honest(node: Node) -> bool:
    """Whether a part is what it says: not a multipart or a message that could not be read."""
    if node.is_multipart:
        return bool(node.children)
    said = node.fields.get(b"content-type", b"").strip().lower()
    return node.media.name != PLAIN or not said.startswith((b"multipart/", b"message/"))


def forms_of(node: Node) -> frozenset[bytes]:
    """The forms of text that a part is made of, by the first text in it."""
    if not node.is_multipart:
        return frozenset({node.media.name}) & _FORMS if not node.is_attachment and honest(node) else frozenset()
    if node.media.name in _CLOSED or not node.children:
        return frozenset()
    if node.media.name == b"multipart/related":
        return forms_of(root_of(node))
    found = [forms_of(child) for child in node.children]
    if node.media.name == b"multipart/alternative":
        return frozenset().union(*found)
    return next((one for one in found if one), frozenset())


def others(node: Node) -> list[Node]:
    """What a part has besides text that people read at once."""
    if node.is_multipart and node.media.name not in _CLOSED:
        return [found for child in node.children for found in others(child)]
    return [] if forms_of(node) else [node]


def root_of(node: Node) -> Node:
    """The root of a multipart/related: the one named by `start`, else the first (RFC 2387 section 3.2)."""
    start = node.media.parameter(b"start")
    for child in node.children if start else ():
        if child.fields.get(b"content-id", b"").strip() == start:
            return child
    return node.children[0]


def declared(data: bytes) -> bytes:
    """The charset that HTML says it is in, or nothing."""
    hit = _META.search(data, 0, _META_WITHIN) if b"charset" in data[:_META_WITHIN].lower() else None
    return hit[1] if hit else b""


def with_declaration(text: str, charset: str) -> str:
    """HTML whose own declaration of a charset, where it has one, says this one."""
    hit = _META_TEXT.search(text, 0, _META_WITHIN) if "charset" in text[:_META_WITHIN].lower() else None
    return text[: hit.end(1)] + charset + text[hit.end() :] if hit else text
