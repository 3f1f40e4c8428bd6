"""winmail.dat as body and attachments (floor 1): Exchange Rich Text (S-155, S-162)."""

from __future__ import annotations

from attrs import frozen

from ..parameters import Media
from .bodies import HTML, PLAIN, declared, forms_of, with_declaration
from .html_text import html_to_text
from .leaf import MAX_MARKS, MAX_TEXT, base64_lines, marks, transfer, written
from .lzfu import MAX_RTF, unpack_rtf
from .mapi import codepage_of, header_of, label_of, media_of, parameter_lines, text_in, text_of_label
from .names import safe_name, type_of
from .rtf import encapsulated_html, rtf_to_text
from .tnef import BINARY, MAX_FILES, OBJECT, Tnef, TnefFile, read_tnef
from .tree import Node, data_of, new_leaf, new_multipart, octets_of, retyped, with_children

#: Messages in each other inside of one TNEF; a deeper one is left out.
MAX_DEPTH = 5
#: TNEF parts opened in one message; further ones stay.
MAX_TNEFS = 20

_TYPES = frozenset({b"application/ms-tnef", b"application/vnd.ms-tnef"})
_FILE = "winmail.dat"
_FILE_TYPE = Media.of(b"application", b"octet-stream", ())


@frozen
class Unpacked:
    """What a TNEF becomes: text parts and files.  `whole`: nothing of it is lost when the TNEF goes."""

    html: str = ""
    plain: str = ""
    files: tuple[Node, ...] = ()
    whole: bool = True

    @property
    def pictures(self) -> list[Node]:
        """Files that the HTML shows."""
        return [file for file in self.files if _is_shown(file, self.html)]

    @property
    def others(self) -> list[Node]:
        """Files beside the text."""
        return [file for file in self.files if not _is_shown(file, self.html)]


def _is_shown(file: Node, html: str) -> bool:
    name = file.fields.get(b"content-id", b"")[1:-1].decode("ascii")
    return bool(name) and f"cid:{name}" in html


class Unpacker:
    """Opens every TNEF of one message; texts made here have `charset`, or UTF-8."""

    def __init__(self, octets: bytes, charset: str) -> None:
        self._octets = octets
        self._charset = charset
        self._left = MAX_TNEFS
        self._marks = MAX_MARKS
        #: Whether all of the TNEF that is being opened is in what it becomes.
        self._whole = True

    def node(self, node: Node) -> Node:
        """The same part without TNEF in it."""
        if not node.is_multipart:
            found = self._found(node)
            return node if found is None else self._alone(node, found)
        if node.media.name != b"multipart/mixed":
            return with_children(node, [self.node(child) for child in node.children]) if node.children else node
        children: list[Node] = []
        for child in node.children:
            found = None if child.is_multipart else self._found(child)
            if found is None:
                children.append(self.node(child))
            else:
                self._beside(children, child, found)
        # A TNEF that held nothing was perhaps all there was.
        return with_children(node, children) if children else node

    def _alone(self, node: Node, found: Unpacked) -> Node:
        """A TNEF that is all of a message, or stands in a multipart where each part has a meaning."""
        body = self._texts(found)
        parts = [*([body] if body else []), *found.others, *([] if found.whole else [node])]
        if not parts:
            return node
        return parts[0] if len(parts) == 1 else new_multipart(b"mixed", parts)

    def _beside(self, children: list[Node], node: Node, found: Unpacked) -> None:
        """A TNEF after other parts: its text belongs to the text before it."""
        place = next((at for at, child in enumerate(children) if forms_of(child)), -1)
        if place < 0:
            body = self._texts(found)
            children[:0] = [body] if body else []
        elif found.html and HTML not in forms_of(children[place]):
            children[place] = new_multipart(b"alternative", [children[place], self._page(found)])
        children += found.others
        if not found.whole:
            children.append(node)

    def _texts(self, found: Unpacked) -> Node | None:
        """The body: both forms where the TNEF has HTML."""
        if not found.html:
            return self._text(found.plain, PLAIN) if found.plain.strip() else None
        plain = found.plain
        if not plain:
            if not self._affords(found.html):
                return self._page(found)
            plain = html_to_text(found.html, flowed=False)
        return new_multipart(b"alternative", [self._text(plain, PLAIN), self._page(found)])

    def _affords(self, text: bytes | str) -> bool:
        """Whether a text is to be read: there are limits to one message."""
        self._marks -= marks(text)
        return self._marks >= 0

    def _page(self, found: Unpacked) -> Node:
        """The HTML with the pictures in it (RFC 2387)."""
        page = self._text(found.html, HTML)
        return new_multipart(b"related", [page, *found.pictures], ((b"type", HTML),)) if found.pictures else page

    def _text(self, text: str, form: bytes) -> Node:
        references = form == HTML
        if references:
            text = with_declaration(text, self._charset)
        octets, charset = written(text if text.endswith("\n") else text + "\n", self._charset, references)
        encoding, body = transfer(octets)
        media = Media.of(b"text", form[5:], ((b"charset", charset),))
        return new_leaf(media, body, (b"Content-Transfer-Encoding", encoding))

    def _found(self, node: Node) -> Unpacked | None:
        """What a part that is a TNEF holds."""
        name = (node.file_name or "").lower()
        if (node.media.name not in _TYPES and name != _FILE) or not self._left:
            return None
        data = data_of(self._octets, node)
        tnef = read_tnef(data) if data is not None else None
        if tnef is None or tnef.message_class.upper().startswith(b"IPM.NOTE.SMIME"):
            return None
        self._left -= 1
        self._whole = True
        return self._unpacked(tnef, MAX_DEPTH)

    def _unpacked(self, tnef: Tnef, depth: int) -> Unpacked:
        """Texts and files of a TNEF; `depth` is how deep messages inside may still be."""
        html, plain = self._texts_of(tnef)
        files = tuple([self._attachment(file, number, tnef, depth) for number, file in enumerate(tnef.files, 1)])
        # Meetings, tasks and contacts are more than their text.
        kind = tnef.message_class.upper()
        if not tnef.whole or (kind and not kind.startswith((b"IPM.NOTE", b"IPM.MICROSOFT MAIL.NOTE"))):
            self._whole = False
        files = files[:MAX_FILES]
        return Unpacked(html, plain, files, self._whole)

    def _attachment(self, file: TnefFile, number: int, tnef: Tnef, depth: int) -> Node:
        page = codepage_of(tnef)
        kind, value = file.properties.get(0x3701, (0, b""))
        name = next((found for tag in (0x3707, 0x3704, 0x3001) if (found := text_in(file.properties, tag, page))), "")
        name = name or text_of_label(file.title, page)
        if kind == OBJECT and depth:
            inner = read_tnef(value[16:])
            if inner is not None:
                return self._message(inner, name, depth - 1)
        data = value if kind == BINARY else file.data or value[16:]
        media = media_of(text_in(file.properties, 0x370E, page)) or type_of(name) or b"application/octet-stream"
        name = safe_name(name, media, number)
        lines = [(b"Content-Transfer-Encoding", b"base64")]
        identifier = text_in(file.properties, 0x3712, page).strip("<> ")
        if identifier.isascii() and identifier.isprintable() and 0 < len(identifier) <= 200:
            lines.append((b"Content-ID", b"<%b>" % identifier.encode("ascii")))
        lines.append((b"Content-Disposition", parameter_lines(b"attachment", name)))
        return new_leaf(retyped(_FILE_TYPE, media), base64_lines(data), *lines)

    def _message(self, tnef: Tnef, name: str, depth: int) -> Node:
        """A message that was attached: it gets a header of what is known of it."""
        found = self._unpacked(tnef, depth)
        parts = [self._texts(found) or self._text("", PLAIN), *found.others]
        root = parts[0] if len(parts) == 1 else new_multipart(b"mixed", parts)
        block = header_of(tnef, name)
        whole = octets_of(block, root)
        encoding = b"7bit" if whole.isascii() else b"8bit"
        return new_leaf(Media.of(b"message", b"rfc822", ()), whole, (b"Content-Transfer-Encoding", encoding))

    def _texts_of(self, tnef: Tnef) -> tuple[str, str]:
        """(HTML or nothing, plain text or nothing) of a TNEF's body, with LF line ends."""
        page = codepage_of(tnef)
        plain = text_in(tnef.properties, 0x1000, page) or text_of_label(tnef.body, page)
        kind, value = tnef.properties.get(0x1013, (0, b""))
        html = ""
        if kind == BINARY:
            label = declared(value) or label_of(tnef.properties.get(0x3FDE)) or page
            html = text_of_label(value[:MAX_TEXT], label)
        elif kind:
            html = text_in(tnef.properties, 0x1013, page)
        if max(len(value), len(plain)) > MAX_TEXT:
            self._whole = False
        kind, value = tnef.properties.get(0x1009, (0, b""))
        rtf = unpack_rtf(value) if kind == BINARY and not html.strip() else None
        if rtf is not None:
            if len(rtf) == MAX_RTF or not self._affords(rtf):
                self._whole = False
            else:
                html = encapsulated_html(rtf) or ""
                if not html.strip() and not plain.strip():
                    plain = rtf_to_text(rtf)
        return html if html.strip() else "", plain[:MAX_TEXT]
