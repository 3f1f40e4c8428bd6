"""Which line a key stands on: an index over the text of a TOML file that was read without error (floor 4)."""

from __future__ import annotations

import re

Path = tuple[str, ...]

_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
#: What ends or opens something inside a value; the longer quotes first.
_TOKEN = re.compile(r"""\"{3}|'{3}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}\n]""")


class LineIndex:
    """Dotted paths of tables and keys -> 1-based line; of the texts in a list too, which have their place in the list
    as the last part of their path: ("access", "office", "list", "0")."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._text = text
        self._scan()

    def line_of(self, path: Path) -> int | None:
        """The line of the path, or of the nearest table around it; None for nothing of it."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return None

    def _scan(self) -> None:
        """One pass: headers set the table, keys are noted, values skipped."""
        at, line, table = 0, 1, ()
        text = self._text
        while at < len(text):
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            start = text[at:end].lstrip()
            if start.startswith("["):
                table, _ = self._path(at + text[at:end].index("[") + (2 if start.startswith("[[") else 1))
                self._note(table, line)
            elif start and not start.startswith("#"):
                keys, after = self._path(at)
                self._note(table + keys, line)
                end = self._end_of_value(after, table + keys, line)
            line += text.count("\n", at, end) + 1
            at = end + 1

    def _note(self, path: Path, line: int) -> None:
        """Keep the first line of a path and of the tables it implies."""
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)

    def _path(self, at: int) -> tuple[Path, int]:
        """The dotted key at an offset, and the offset behind it."""
        found: list[str] = []
        while match := _PART.match(self._text, at):
            double, single, bare = match.groups()
            found.append(next(part for part in (double, single, bare) if part is not None))
            at = match.end()
            if self._text[at : at + 1] != ".":
                break
            at += 1
        return tuple(found), at

    def _end_of_value(self, at: int, path: Path, line: int) -> int:
        """The offset of the line end that closes the value after `at`, past multi-line texts and lists.

        Notes the lines of texts that stand in a list; `path` and `line` are those of the key."""
        depth = items = 0
        while match := _TOKEN.search(self._text, at):
            token, at = match.group(), match.end()
            if depth == 1 and token[0] in "\"'":
                self._lines.setdefault((*path, str(items)), line)
                items += 1
            if token in ('"""', "'''"):
                start, at = at, self._end_of_text(token, at)
                line += self._text.count("\n", start, at)
            elif token in "[{":
                depth += 1
            elif token in "]}":
                depth -= 1
            elif token == "\n":
                if depth <= 0:
                    return at - 1
                line += 1
        return len(self._text)

    def _end_of_text(self, quote: str, at: int) -> int:
        """The offset behind a multi-line text that was opened by `quote` before `at`."""
        while True:
            close = self._text.find(quote, at)
            if close < 0:
                return len(self._text)
            slashes = len(self._text[at:close]) - len(self._text[at:close].rstrip("\\"))
            if quote == "'''" or slashes % 2 == 0:
                # Up to two more quotes may belong to the text itself.
                end = close + 3
                while self._text[end : end + 1] == quote[0] and end < close + 5:
                    end += 1
                return end
            at = close + 1
