"""Blocks of text laid out in lines as format=flowed (floor 1): RFC 3676."""

from __future__ import annotations

from attrs import define

#: Columns of a line without its line end (RFC 3676 section 4.2 recommends at most 78).
WIDTH = 72
#: Columns of words, however deep a list or a quote.
_LEAST = 24


@define
class Block:
    """A paragraph, or lines that are not wrapped.

    `text` has LF between its lines; `first` and `rest` stand before its first and its other lines, after `quotes`
    quote marks; `gap`: a blank line is before it.
    """

    text: str
    quotes: int = 0
    first: str = ""
    rest: str = ""
    fixed: bool = False
    gap: bool = False


def lay_out(blocks: list[Block], flowed: bool = True) -> str:
    """All blocks as text with LF line ends, the last one too; as format=flowed, or in fixed lines."""
    out: list[str] = []
    depth = 0
    for block in blocks:
        if block.gap and out and out[-1].strip("> "):
            out.append(">" * min(depth, block.quotes))
        depth = block.quotes
        mark = ">" * depth + " " if depth else ""
        prefix = block.first
        for line in block.text.split("\n"):
            if not line:
                out.append(mark.rstrip())
            elif block.fixed or len(mark) + len(prefix) + len(line) <= WIDTH:
                out.append(_stuffed(mark, (prefix + line).rstrip(" "), flowed))
            else:
                _wrap(out, mark, prefix, block.rest, line, flowed)
            prefix = block.rest
    return "\n".join(out) + "\n" if out else ""


def _wrap(out: list[str], mark: str, prefix: str, rest: str, line: str, flowed: bool) -> None:
    """One line as several.  Soft line ends only where nothing is indented: they would keep the indentation."""
    soft = "" if prefix or rest or not flowed else " "
    at, size = 0, len(line)
    while True:
        width = max(WIDTH - len(mark) - len(prefix) - len(soft), _LEAST)
        if size - at <= width:
            break
        cut = line.rfind(" ", at, at + width + 1)
        if cut <= at:
            cut = line.find(" ", at + width)
            if cut < 0:
                break
        out.append(_stuffed(mark, prefix + line[at:cut] + soft, flowed))
        at = cut + 1
        prefix = rest
    out.append(_stuffed(mark, prefix + line[at:], flowed))


def _stuffed(mark: str, line: str, flowed: bool) -> str:
    """RFC 3676 section 4.4: what would be read as a quote, or mangled by mailboxes of old, gets a space."""
    if mark or not flowed:
        return mark + line
    return " " + line if line.startswith((" ", ">", "From ")) else line
