"""HTML as plain text (floor 1): links, lists, tables, and pictures in words (S-159)."""

from __future__ import annotations

import re
from collections.abc import Callable

from .html_reader import BREAK, Reader, collapsed
from .html_tokens import attributes, tokens
from .layout import lay_out

#: Characters of the longest link that is shown, and of a picture's description.
MAX_LINK, MAX_DESCRIPTION = 2000, 500

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
#: Elements that mail hides, mostly the words for the preview, and that have an end.
_MAY_HIDE = frozenset("div span td tr table".split())
_LINK = re.compile(r"(?:(?:https?|ftp)://|mailto:|tel:)\S", re.IGNORECASE)
_FILE = re.compile(r"(?:^|/)([A-Za-z0-9._-]{1,60}\.(?:png|jpe?g|gif|webp|svg|bmp|tiff?))(?:[?#]|$)", re.IGNORECASE)
#: Sizes of a picture that only counts readers, and of one that is a line or a mark.
_TINY, _SMALL = re.compile(r"\s*[012](?:px)?\s*$"), re.compile(r"\s*(?:[0-9]|1[0-9]|2[0-4])(?:px)?\s*$")


def html_to_text(document: str, flowed: bool = True) -> str:
    """The text of an HTML document with LF line ends, as format=flowed or in fixed lines; never raises.

    At most 40 characters for each of the document's.
    """
    reader = Reader()
    hidden = _Hidden()
    actions = _ACTIONS
    for name, raw, text in tokens(document.replace(BREAK, ""), _WANTED):
        if hidden.name:
            hidden.watch(name)
        elif not name:
            if reader.pre:
                reader.inline.append(text.replace("\n", BREAK))
            elif reader.inline or not text.isspace():
                # Most text of a page is the line ends between its tags.
                reader.inline.append(text)
        elif raw and name in _MAY_HIDE and hidden.begins(name, raw):
            continue
        else:
            action = actions.get(name)
            if action is not None:
                action(reader, name, raw)
    while reader.tables:
        reader.skipped["table"] = 0
        reader.close_table()
    reader.flush()
    return _CONTROLS.sub("", lay_out(reader.blocks, flowed))


class _Hidden:
    """What is not displayed: from a tag to its end."""

    __slots__ = ("_depth", "name")

    def __init__(self) -> None:
        self.name = ""
        self._depth = 0

    def begins(self, name: str, raw: str) -> bool:
        """Whether this tag hides what it holds."""
        if "none" not in raw or not _HIDDEN.search(attributes(raw).get("style", "")):
            return False
        self.name, self._depth = name, 1
        return True

    def watch(self, name: str) -> None:
        """One more tag inside."""
        if name == self.name:
            self._depth += 1
        elif name[1:] == self.name and name[0] == "/":
            self._depth -= 1
            if not self._depth:
                self.name = ""


_Action = Callable[[Reader, str, str], None]


def _plain(reader: Reader, name: str, raw: str) -> None:
    reader.flush()


def _spaced(reader: Reader, name: str, raw: str) -> None:
    reader.flush(True)


def _break(reader: Reader, name: str, raw: str) -> None:
    reader.inline.append(BREAK)


def _quotation(reader: Reader, name: str, raw: str) -> None:
    reader.inline.append('"')


def _rule(reader: Reader, name: str, raw: str) -> None:
    reader.rule()


def _heading(reader: Reader, name: str, raw: str) -> None:
    """The two greatest headings are underlined."""
    reader.flush(True)
    reader.heading = {"h1": "=", "h2": "-"}.get(name, "")


def _pre(reader: Reader, name: str, raw: str) -> None:
    reader.flush(True)
    reader.pre = name == "pre"


def _quote(reader: Reader, name: str, raw: str) -> None:
    reader.quote(name == "blockquote")


def _list(reader: Reader, name: str, raw: str) -> None:
    if name[0] == "/":
        reader.close_list()
        return
    start = attributes(raw).get("start", "1") if name == "ol" else ""
    reader.open_list((int(start) if start.isdecimal() and len(start) < 8 else 1) if start else None)


def _item(reader: Reader, name: str, raw: str) -> None:
    if name == "li":
        reader.item()
    else:
        reader.close_item()


def _table(reader: Reader, name: str, raw: str) -> None:
    if name == "table":
        reader.open_table()
    else:
        reader.close_table()


def _row(reader: Reader, name: str, raw: str) -> None:
    reader.row()


def _cell(reader: Reader, name: str, raw: str) -> None:
    reader.cell(name == "th")


def _link(reader: Reader, name: str, raw: str) -> None:
    target = attributes(raw).get("href", "")
    target = "".join(target.split()).replace("<", "%3C").replace(">", "%3E")
    reader.link = target if len(target) <= MAX_LINK and _LINK.match(target) else ""
    reader.link_from = len(reader.inline)


def _link_end(reader: Reader, name: str, raw: str) -> None:
    """The address behind the words, unless the words are the address."""
    link, reader.link = reader.link, ""
    if link:
        text = collapsed("".join(reader.inline[reader.link_from :]))
        if text and _bare(text) != _bare(link):
            reader.inline.append(f" <{link[7:] if link.lower().startswith('mailto:') else link}>")


def _bare(link: str) -> str:
    """What two ways to write one address have in common."""
    link = link.strip().lower()
    for prefix in ("https://", "http://", "mailto:", "tel:", "www."):
        link = link.removeprefix(prefix)
    return link.rstrip("/")


def _picture(reader: Reader, name: str, raw: str) -> None:
    """``[image: words]``; nothing for decoration and for pictures that only report that mail was read."""
    found = attributes(raw)
    sizes = [found[side] for side in ("width", "height") if side in found]
    if any(map(_TINY.match, sizes)):
        return
    words = collapsed(found.get("alt", "") or found.get("title", ""))[:MAX_DESCRIPTION]
    if not words:
        source = found.get("src", "")
        file = _FILE.search(source[-200:])
        nameless = file is None and not source[:4].lower() == "cid:"
        if "alt" in found or nameless or any(map(_SMALL.match, sizes)):
            return
        words = file[1] if file else ""
    reader.inline.append(f"[image: {words}]" if words else "[image]")


def _actions() -> dict[str, _Action]:
    """Tag -> what it does; an end tag has a slash before its name."""
    pairs: list[tuple[str, _Action]] = [
        ("address article aside body caption center dd details dialog dir div dt fieldset figcaption figure", _plain),
        ("footer form header html legend main nav option section summary tr thead tbody tfoot", _plain),
        ("p dl h3 h4 h5 h6", _spaced), ("h1 h2", _heading), ("pre", _pre), ("blockquote", _quote),
        ("ul ol menu", _list), ("li", _item), ("table", _table), ("q", _quotation),
    ]  # fmt: skip
    found = {slash + name: action for names, action in pairs for name in names.split() for slash in ("", "/")}
    found |= {"br": _break, "hr": _rule, "img": _picture, "tr": _row, "td": _cell, "th": _cell}
    found |= {"/td": _plain, "/th": _plain}
    return found | {"a": _link, "/a": _link_end, "/p": _spaced}


_ACTIONS = _actions()
_WANTED = frozenset({*_ACTIONS, *_MAY_HIDE, *["/" + name for name in _MAY_HIDE]})
