"""Rich Text Format as text or as the HTML inside of it (floor 1): RTF 1.9, [MS-OXRTFEX]."""

from __future__ import annotations

import re

from ..charsets import codec

#: Octets read of one RTF.
MAX_RTF = 4 * 2**20

_TOKEN = re.compile(
    rb"\\(?:([a-zA-Z]{1,32})(-?[0-9]{1,9})?[ ]?|'([0-9a-fA-F]{2})|([^a-zA-Z]))|([{}])|([^\\{}\r\n]+)|[\r\n]+", re.DOTALL
)
_LINK = re.compile(rb"HYPERLINK\s+\"([^\"\s]{1,2000})\"", re.IGNORECASE)

#: Groups whose text is no text of the document.
_SKIPPED = frozenset(
    b"colortbl stylesheet info pict object header headerl headerr headerf footer footerl footerr footerf generator "
    b"themedata colorschememapping latentstyles datastore xmlnstbl listtable listoverridetable rsidtbl filetbl revtbl "
    b"background nonshppict author title operator bkmkstart bkmkend".split()
)
_TEXTS = {
    b"par": "\n", b"line": "\n", b"sect": "\n", b"page": "\n", b"row": "\n", b"nestrow": "\n", b"tab": "\t",
    b"cell": "\t", b"nestcell": "\t", b"emdash": "\u2014", b"endash": "\u2013", b"lquote": "\u2018",
    b"rquote": "\u2019", b"ldblquote": "\u201c", b"rdblquote": "\u201d", b"bullet": "\u2022", b"emspace": "\u2003",
    b"enspace": "\u2002", b"qmspace": " ", b"zwj": "\u200d", b"zwnj": "\u200c",
}  # fmt: skip
_SYMBOLS = {b"\\": "\\", b"{": "{", b"}": "}", b"~": "\xa0", b"_": "\u2011", b"\n": "\n", b"\r": "\n"}
#: Windows' character sets of fonts (RTF 1.9, \fcharset) where they are no code page by name.
_CHARSETS = {
    0: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030", 136: "big5", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250", 254: "cp437", 255: "cp850",
}  # fmt: skip
_DEFAULTS = {b"ansi": "cp1252", b"mac": "mac_roman", b"pc": "cp437", b"pca": "cp850"}

TEXT, SKIP, FONTS, TAG, FIELD = range(5)


def rtf_to_text(data: bytes) -> str:
    """The text of an RTF document, with LF line ends; never raises.

    An address behind a link stands after it in angle brackets.  Where the document holds HTML this is that HTML's
    source: see `encapsulated_html`.
    """
    return _Reader(data[:MAX_RTF]).run()


def encapsulated_html(data: bytes) -> str | None:
    r"""The HTML that an RTF document was made of (\fromhtml1), with LF line ends; None when it holds none."""
    if b"\\fromhtml1" not in data[:2048]:
        return None
    return _Reader(data[:MAX_RTF], html=True).run()


class _Reader:
    """One reading.  The state of a group: destination, characters to skip after \\u, codec, whether text is hidden."""

    def __init__(self, data: bytes, html: bool = False) -> None:
        self._data = data
        self._html = html
        self._out: list[str] = []
        #: Octets of the code page that wait for their neighbours: a character may have two.
        self._octets = bytearray()
        self._codec = self._default = "cp1252"
        self._fonts: dict[int, str] = {}
        self._font = 0
        self._place = TEXT
        self._after = 1
        self._hidden = False
        self._stack: list[tuple[int, int, str, bool, int]] = []
        self._optional = False
        self._left = 0
        self._field = bytearray()
        self._link = ""
        self._result = -1

    def run(self) -> str:
        """The whole text."""
        data, match, at = self._data, _TOKEN.match, 0
        while True:
            hit = match(data, at)
            if hit is None:
                break
            at = hit.end()
            word, number, code, symbol, brace, text = hit.groups()
            if word is not None:
                if word == b"bin":
                    at += max(int(number or 0), 0)
                else:
                    self._word(word, None if number is None else int(number))
            elif brace is not None:
                self._open() if brace == b"{" else self._close()
            elif text is not None:
                self._characters(text)
            elif code is not None:
                self._characters(bytes((int(code, 16),)))
            elif symbol == b"*":
                self._optional = True
            elif symbol is not None and symbol in _SYMBOLS:
                self._say(_SYMBOLS[symbol])
        self._flush()
        # \u gives UTF-16 units.
        return "".join(self._out).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _open(self) -> None:
        self._flush()
        self._left = 0
        self._optional = False
        self._stack.append((self._place, self._after, self._codec, self._hidden, self._result))

    def _close(self) -> None:
        self._flush()
        self._left = 0
        if not self._stack:
            return
        was, result = self._place, self._result
        self._place, self._after, self._codec, self._hidden, self._result = self._stack.pop()
        if was == FIELD and self._place != FIELD:
            found = _LINK.search(bytes(self._field))
            self._link = found[1].decode("latin-1") if found else ""
            self._field.clear()
        elif result >= 0 and self._result < 0 and self._link:
            link, self._link = self._link, ""
            if "".join(self._out[result:]).strip() not in ("", link, link.removeprefix("mailto:")):
                self._say(f" <{link}>")

    def _flush(self) -> None:
        if self._octets:
            self._out.append(self._octets.decode(self._codec, "replace"))
            self._octets.clear()

    def _say(self, text: str) -> None:
        """Text that is known by its name."""
        if self._left:
            self._left -= 1
        elif self._shown():
            self._flush()
            self._out.append(text)

    def _shown(self) -> bool:
        return not self._hidden and (self._place == TEXT or self._place == TAG)

    def _characters(self, text: bytes) -> None:
        """Text in the code page of the font."""
        if self._left:
            skipped = min(self._left, len(text))
            self._left -= skipped
            text = text[skipped:]
        if self._place == FIELD:
            self._field += text[:4096]
        elif self._shown():
            self._octets += text

    def _word(self, word: bytes, number: int | None) -> None:
        optional, self._optional = self._optional, False
        if word == b"u":
            self._say(chr((number or 0) & 0xFFFF))
            self._left = self._after
        elif word in _TEXTS:
            self._say(_TEXTS[word])
        elif word == b"uc":
            self._after = min(max(number or 0, 0), 16)
        elif word == b"htmltag" or word == b"mhtmltag":
            self._place = TAG if word == b"htmltag" and self._html and self._place == TEXT else SKIP
        elif word == b"htmlrtf":
            self._hidden = self._html and number != 0
        elif word == b"v" and not self._html:
            self._hidden = number != 0
        elif word == b"fonttbl":
            self._place = FONTS
        elif word == b"fldinst" and self._place == TEXT and not self._html:
            self._place = FIELD
        elif word == b"fldrslt":
            self._flush()
            self._result = len(self._out)
        elif (optional and word != b"shppict") or word in _SKIPPED:
            self._place = SKIP
        else:
            self._coding(word, number)

    def _coding(self, word: bytes, number: int | None) -> None:
        """Words that say which code page counts."""
        if word == b"f":
            self._flush()
            self._font = number or 0
            if self._place != FONTS:
                self._codec = self._fonts.get(self._font, self._default)
        elif word == b"fcharset" and self._place == FONTS and number in _CHARSETS:
            self._fonts[self._font] = _CHARSETS[number]
        elif word == b"ansicpg" or word in _DEFAULTS:
            self._flush()
            name = codec(b"cp%d" % number) if word == b"ansicpg" and number else _DEFAULTS.get(word)
            if number == 65001 and word == b"ansicpg":
                name = "utf_8"
            self._default = self._codec = name or self._default
        elif word == b"plain":
            self._flush()
            self._codec = self._default
