"""Tables of HTML as lines of text (floor 1): columns where it holds data, paragraphs where it places them."""

from __future__ import annotations

from .layout import WIDTH, Block

#: Characters of a cell that stands in a column, and columns.
MAX_CELL, MAX_COLUMNS = 40, 24
_GAP = "  "


class Table:
    """A table that is being read: its rows of cells, and the state outside that comes back at its end."""

    __slots__ = ("first", "gap", "headings", "lists", "outer", "rest", "rows")

    def __init__(
        self, outer: list[Block], lists: list[tuple[int | None, str]], first: str, rest: str, gap: bool
    ) -> None:
        self.outer, self.lists, self.first, self.rest, self.gap = outer, lists, first, rest, gap
        #: Of each row the blocks of each cell; what is outside of a cell is one of its own.
        self.rows: list[list[list[Block]]] = []
        #: Rows that have heading cells.
        self.headings: set[int] = set()

    def open_cell(self, heading: bool) -> None:
        """A cell begins in the last row."""
        if not self.rows:
            self.rows.append([])
        if heading:
            self.headings.add(len(self.rows) - 1)
        self.rows[-1].append([])

    def close_cell(self, blocks: list[Block]) -> None:
        """The content of the cell that is open; what stands between rows becomes a row."""
        if self.rows and self.rows[-1] and not self.rows[-1][-1]:
            self.rows[-1][-1] = blocks
        elif blocks:
            self.rows.append([blocks])


def cells_laid_out(table: Table, quotes: int) -> list[Block]:
    """The blocks that a table becomes; `quotes` is the quote depth around it."""
    rows = [row for row in table.rows if any(row)]
    if _holds_data(rows, quotes):
        return [Block(_columns(table, quotes), quotes, fixed=True, gap=True)]
    out: list[Block] = []
    for row in rows:
        cells = [cell for cell in row if cell]
        short = len(cells) > 1 and all(_short(cell, quotes) for cell in cells)
        if short and sum(len(cell[0].text) + len(_GAP) for cell in cells) <= WIDTH - len(_GAP) - quotes:
            # Words beside each other, as a name and a value.
            out.append(Block(_GAP.join([cell[0].text for cell in cells]), quotes, gap=cells[0][0].gap))
        else:
            for cell in cells:
                out += cell
    return out


def _short(cell: list[Block], quotes: int) -> bool:
    """Whether a cell is one line that can stand beside others."""
    if not cell:
        return True
    block = cell[0]
    plain = len(cell) == 1 and not block.first and not block.fixed and block.quotes == quotes
    return plain and len(block.text) <= MAX_CELL and "\n" not in block.text


def _holds_data(rows: list[list[list[Block]]], quotes: int) -> bool:
    """Whether all cells are short, in at least two rows and columns, and fit beside each other."""
    most = max(map(len, rows), default=0)
    if len(rows) < 2 or not 2 <= most <= MAX_COLUMNS:
        return False
    if not all(_short(cell, quotes) for row in rows for cell in row):
        return False
    return sum(_widths(rows)) + len(_GAP) * (most - 1) <= WIDTH - quotes - 1


def _widths(rows: list[list[list[Block]]]) -> list[int]:
    widths = [0] * max(map(len, rows))
    for row in rows:
        for column, cell in enumerate(row):
            if cell:
                widths[column] = max(widths[column], len(cell[0].text))
    return widths


def _columns(table: Table, quotes: int) -> str:
    """Rows as lines with columns; a line is under the headings that stand first."""
    rows = [row for row in table.rows if any(row)]
    widths = _widths(rows)
    used = [column for column, width in enumerate(widths) if width]
    lines = []
    for row in rows:
        texts = [row[column][0].text if column < len(row) and row[column] else "" for column in used]
        lines.append(_GAP.join([text.ljust(widths[column]) for text, column in zip(texts, used)]).rstrip())
        if len(lines) == 1 and any(row is table.rows[number] for number in table.headings):
            lines.append(_GAP.join(["-" * widths[column] for column in used]))
    return "\n".join(lines)
