"""HTML as mail has it, cut into tags and text (floor 1).

Reads like a browser where that matters: quotes in attributes, comments, text of scripts and styles, tags never closed.
Linear in the octets, and the same on every version of Python, which `html.parser` is not (docs/decisions/0018).
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator

#: Tags whose quotes never end; after these a quote in a tag means nothing.
MAX_BROKEN = 20

_TAG = re.compile(
    r"<(/?)([a-zA-Z][^\s/>\"'=]*+)"
    r"([^>=]*+(?:=\s*+(?:\"[^\"]*+\"|'[^']*+')?+[^>=]*+)*+)>"
)
_LOOSE_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>\"'=]*+)([^>]*+)>")
_ATTRIBUTE = re.compile(r"([^\s=/>\"']++)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s>]++))")
#: Elements whose content is no text to be shown, or no markup.
RAW = frozenset("script style title textarea xmp iframe noembed noframes".split())
_RAW_END = {name: re.compile(f"</{name}(?=[\\s/>])[^>]*>", re.IGNORECASE) for name in RAW}


def tokens(text: str, wanted: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """(name, raw attributes, "") of a start tag; ("/" + name, "", "") of an end tag; ("", "", text) of text.

    Names are in lower case; only tags `wanted` are given, end tags with their slash.  Character references in text are
    decoded.  Comments and the content of scripts, styles and titles are left out.
    """
    at = shown = broken = 0
    while True:
        at = text.find("<", at)
        if at < 0:
            break
        end = -1
        hit = _TAG.match(text, at) if broken < MAX_BROKEN else None
        if hit is None:
            end = _declaration(text, at)
            if end < 0 and text[at + 1 : at + 2].isalpha():
                broken += 1
                hit = _LOOSE_TAG.match(text, at)
                if hit is None and text.find(">", at) < 0:
                    # No tag can end any more.
                    break
            if end < 0 and hit is None:
                at += 1
                continue
        if at > shown:
            piece = text[shown:at]
            yield "", "", unescaped(piece) if "&" in piece else piece
        if hit is None:
            shown = at = end
            continue
        slash, name, raw = hit.groups()
        name = name.lower()
        at = hit.end()
        if slash:
            if slash + name in wanted:
                yield slash + name, "", ""
        else:
            if name in wanted:
                yield name, raw, ""
            elif name in RAW:
                found = _RAW_END[name].search(text, at)
                at = found.end() if found else len(text)
        shown = at
    if shown < len(text):
        yield "", "", unescaped(text[shown:])


def _declaration(text: str, at: int) -> int:
    """The end of the comment, declaration or processing instruction at `at`; -1 when there is none."""
    if text.startswith("<!--", at):
        # "<!-->" is a whole comment.
        end = text.find("-->", at + 2)
        return end + 3 if end >= 0 else len(text)
    if text.startswith(("<!", "<?", "</"), at):
        end = text.find(">", at)
        return end + 1 if end >= 0 else len(text)
    return -1


def unescaped(text: str) -> str:
    """Text with its character references decoded; never raises."""
    try:
        return html.unescape(text)
    except ValueError:
        # A number of thousands of digits.
        return text


def attributes(raw: str) -> dict[str, str]:
    """The attributes of a start tag that have values: name in lower case, value decoded; the first counts."""
    found: dict[str, str] = {}
    for hit in _ATTRIBUTE.finditer(raw):
        value = hit[2] or hit[3] or hit[4] or ""
        found.setdefault(hit[1].lower(), unescaped(value) if "&" in value else value)
    return found
