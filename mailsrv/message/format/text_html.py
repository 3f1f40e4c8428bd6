"""Plain text as HTML (floor 1): paragraphs, quotes, links (S-160); format=flowed (RFC 3676)."""

from __future__ import annotations

import html
import re

#: Quote marks that are read at the start of a line; further ones are text.
MAX_QUOTES = 20
#: Quotes that open in one text; after these a quote mark is a character.
MAX_OPENED = 5000
#: Columns to the next tab stop.
_TAB = 8

#: What becomes a link: an address with its scheme, one that begins like a web site, a mail address.
_LINK = re.compile(
    r"(?:(?<![A-Za-z0-9+.-])(?:https?|ftp)://|(?<![A-Za-z0-9@/._-])www\.(?=[A-Za-z0-9]))[^\s<>\"`\x00-\x1f]{1,2000}"
    r"|(?<![A-Za-z0-9.!#$%&'*+/=?^_{|}~:-])(?:mailto:)?[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"
    r"(?![A-Za-z0-9@-])",
    re.IGNORECASE | re.ASCII,
)
_TRAILING = ".,;:!?'*_"
_PAIRS = {")": "(", "]": "[", "}": "{"}
_SPACES = re.compile(r"  +")


def text_to_html(text: str, charset: str, flowed: bool = False, delsp: bool = False) -> str:
    """A whole HTML document, with LF line ends, that shows `text` (LF line ends).

    `flowed` and `delsp` are the parameters of the text's media type (RFC 3676).
    """
    lines = unflowed(text, delsp) if flowed else [_quotes(line) for line in text.rstrip("\n").split("\n")]
    out = [
        "<!DOCTYPE html>",
        f'<html><head><meta http-equiv="Content-Type" content="text/html; charset={charset}"></head><body>',
    ]
    paragraph: list[str] = []
    depth = opened = 0
    for quotes, line in lines:
        if opened > MAX_OPENED:
            quotes, line = 0, ">" * quotes + line
        if quotes != depth or not line.strip():
            _paragraph(paragraph, out)
            paragraph = []
        if quotes > depth:
            opened += quotes - depth
            out.append('<blockquote type="cite">' * (quotes - depth))
        elif quotes < depth:
            out.append("</blockquote>" * (depth - quotes))
        depth = quotes
        if line.strip():
            paragraph.append(_line(line))
    _paragraph(paragraph, out)
    out.append("</blockquote>" * depth + "</body></html>\n")
    return "\n".join(out)


def _paragraph(lines: list[str], out: list[str]) -> None:
    if lines:
        out.append("<p>" + "<br>\n".join(lines) + "</p>")


def _quotes(line: str) -> tuple[int, str]:
    """(quote depth, the rest) of a line of fixed text: "> > words" is as good as ">> words"."""
    depth = at = 0
    while depth < MAX_QUOTES and line.startswith(">", at):
        depth += 1
        at += 2 if line.startswith((" ", "\t"), at + 1) and line.startswith(">", at + 2) else 1
    if depth and line.startswith(" ", at):
        at += 1
    return depth, line[at:]


def unflowed(text: str, delsp: bool = False) -> list[tuple[int, str]]:
    """(quote depth, line) of flowed text: soft line ends are undone (RFC 3676 section 4)."""
    out: list[tuple[int, str]] = []
    pieces: list[str] = []
    open_depth = 0
    for line in text.rstrip("\n").split("\n"):
        rest = line.lstrip(">")
        depth = min(len(line) - len(rest), MAX_QUOTES)
        rest = rest[1:] if rest.startswith(" ") else rest
        if pieces and depth != open_depth:
            # A soft line end before a change of depth is a mistake, and hard (section 4.5).
            out.append((open_depth, "".join(pieces)))
            pieces = []
        open_depth = depth
        if rest.endswith(" ") and rest != "-- ":
            pieces.append(rest[:-1] if delsp else rest)
            continue
        if rest == "-- " and pieces:
            out.append((open_depth, "".join(pieces)))
            pieces = []
        pieces.append(rest)
        out.append((depth, "".join(pieces)))
        pieces = []
    if pieces:
        out.append((open_depth, "".join(pieces)))
    return out


def _line(line: str) -> str:
    """One line of text as HTML: links, and spaces that stay."""
    if "\t" in line:
        line = line.expandtabs(_TAB)
    if "@" not in line and ":" not in line and "ww." not in line.lower():
        return _escape(line, True)
    out: list[str] = []
    at = 0
    for hit in _LINK.finditer(line):
        shown = _trimmed(hit[0])
        if not shown:
            continue
        out.append(_escape(line[at : hit.start()], not at))
        target = shown
        if "://" not in shown and not shown.lower().startswith("mailto:"):
            target = ("http://" if shown.lower().startswith("www.") else "mailto:") + shown
        out.append(f'<a href="{html.escape(target)}">{html.escape(shown)}</a>')
        at = hit.start() + len(shown)
    out.append(_escape(line[at:], not at))
    return "".join(out)


def _trimmed(link: str) -> str:
    """A link without the punctuation of the sentence around it."""
    end = len(link)
    spare = {last: link.count(last) - link.count(first) for last, first in _PAIRS.items()}
    while end:
        last = link[end - 1]
        if spare.get(last, 0) > 0:
            spare[last] -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    return link[:end]


def _escape(text: str, start: bool = False) -> str:
    """Words between links; `start`: of a line."""
    text = html.escape(text, quote=False)
    if "  " in text:
        text = _SPACES.sub(lambda hit: "&nbsp;" * (len(hit[0]) - 1) + " ", text)
    return "&nbsp;" + text[1:] if start and text.startswith(" ") else text
