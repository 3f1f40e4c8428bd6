"""The state of reading HTML as text (floor 1): paragraphs, and what stands before their lines."""

from __future__ import annotations

import re

from .html_tables import Table, cells_laid_out
from .layout import Block

#: Lists, quotes and tables in each other; further ones are read as if their tags were not there.
MAX_LISTS, MAX_QUOTES, MAX_TABLES = 10, 20, 16

#: A line break among inline text: a control character that no text has any more when it comes here.
BREAK = "\x1e"
#: Stand for nothing, and are put into mail to fill the line of the preview.
_FILLER = re.compile("[\u00ad\u034f\u200b\u200c\u2060\ufeff]")
_FILLERS = re.compile("[\u00ad\u034f\u200b\u2060\ufeff]|(?<=[\\s\u200c])\u200c|\u200c(?=\\s)")


class Reader:
    """Blocks made so far, and the paragraph that is open (`inline`)."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.inline: list[str] = []
        self.gap = False
        #: Quotes, lists (number of the last item or None, what stands before lines outside), tables that are open.
        self.quotes = 0
        self.lists: list[tuple[int | None, str]] = []
        self.tables: list[Table] = []
        #: Those beyond the limits, whose ends end nothing.
        self.skipped = {"quote": 0, "list": 0, "table": 0}
        self.first = self.rest = ""
        self.pre = False
        self.heading = ""
        self.link = ""
        self.link_from = 0

    def flush(self, gap: bool = False) -> None:
        """End a paragraph; `gap`: a blank line is between it and the next."""
        if self.inline:
            text = "".join(self.inline)
            self.inline.clear()
            self.link_from = 0
            text = _preformatted(text) if self.pre else collapsed(text)
            if text:
                self._add(text)
        self.gap = self.gap or gap

    def _add(self, text: str) -> None:
        if self.heading:
            text += "\n" + self.heading * min(max(map(len, text.split("\n"))), 60)
        fixed = self.pre or bool(self.heading)
        self.blocks.append(Block(text, self.quotes, self.first, self.rest, fixed, self.gap))
        self.first = self.rest
        self.gap = False

    def rule(self) -> None:
        """A line across."""
        self.flush()
        self.blocks.append(Block("-" * 40, self.quotes, self.rest, self.rest, True, self.gap))
        self.gap = True

    def quote(self, opens: bool) -> None:
        """A quotation begins or ends."""
        self.flush(True)
        if opens and self.quotes < MAX_QUOTES:
            self.quotes += 1
        elif opens:
            self.skipped["quote"] += 1
        elif self.skipped["quote"]:
            self.skipped["quote"] -= 1
        elif self.quotes:
            self.quotes -= 1

    def open_list(self, first: int | None) -> None:
        """A list begins; `first` is the number of its first item, None without numbers."""
        self.flush(not self.lists)
        if len(self.lists) < MAX_LISTS:
            self.lists.append((None if first is None else first - 1, self.rest))
        else:
            self.skipped["list"] += 1

    def item(self) -> None:
        """An item of a list begins."""
        self.flush()
        number, outer = self.lists[-1] if self.lists else (None, "")
        marker = "* "
        if number is not None:
            marker = f"{number + 1}. "
            self.lists[-1] = number + 1, outer
        self.first = outer + marker
        self.rest = outer + " " * len(marker)

    def close_item(self) -> None:
        """An item ends, with or without a list around it."""
        self.flush()
        self.first = self.rest = self.lists[-1][1] if self.lists else ""

    def close_list(self) -> None:
        """A list ends."""
        self.flush()
        if self.skipped["list"]:
            self.skipped["list"] -= 1
        elif self.lists:
            self.first = self.rest = self.lists.pop()[1]
            self.gap = self.gap or not self.lists

    def open_table(self) -> None:
        """A table begins."""
        self.flush()
        if len(self.tables) < MAX_TABLES:
            self.tables.append(Table(self.blocks, self.lists, self.first, self.rest, self.gap))
            self.blocks, self.lists, self.first, self.rest, self.gap = [], [], "", "", False
        else:
            self.skipped["table"] += 1

    def row(self) -> None:
        """A row of a table begins."""
        if self.tables and not self.skipped["table"]:
            self._cell_ends()
            self.tables[-1].rows.append([])

    def cell(self, heading: bool) -> None:
        """A cell begins."""
        if self.tables and not self.skipped["table"]:
            self._cell_ends()
            self.tables[-1].open_cell(heading)
        else:
            self.flush()

    def _cell_ends(self) -> None:
        self.flush()
        self.tables[-1].close_cell(self.blocks)
        self.blocks, self.lists, self.first, self.rest, self.gap = [], [], "", "", False

    def close_table(self) -> None:
        """A table ends: rows of cells, or paragraphs where it was a means of placing them."""
        self.flush()
        if self.skipped["table"]:
            self.skipped["table"] -= 1
        elif self.tables:
            self._cell_ends()
            table = self.tables.pop()
            found = cells_laid_out(table, self.quotes)
            self.blocks, self.lists, self.first, self.rest, self.gap = (
                table.outer, table.lists, table.first, table.rest, table.gap,
            )  # fmt: skip
            self.blocks += found
            self.gap = True


def collapsed(text: str) -> str:
    """Inline text as HTML shows it: white space is one space, lines end where a break is."""
    if not text.isascii() and _FILLER.search(text):
        text = _FILLERS.sub("", text)
    if BREAK not in text:
        return " ".join(text.split())
    lines = [" ".join(line.split()) for line in text.strip(BREAK + " \n\t\r\f\xa0").split(BREAK)]
    # Two blank lines say no more than one.
    return "\n".join([line for at, line in enumerate(lines) if line or lines[at - 1]])


def _preformatted(text: str) -> str:
    lines = [line.expandtabs(8).rstrip() for line in text.replace("\xa0", " ").split(BREAK)]
    return "\n".join(lines).strip("\n")
