"""The table of S-rows: docs/s-rows.txt says what is claimed, the tests' own names and words say what proves it.

    python -m tests.s_rows            writes docs/s-rows.md
    python -m tests.s_rows --check    exit status 1 when it is out of date or a claim has no test

A test names a row by `S-053`, or by `s053` or `s_053` in a function's name.  It counts in a conversation's file name
and its comments; in a test function's name, its docstring and its comments.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

TESTS = Path(__file__).resolve().parent
CLAIMS = TESTS.parent / "docs" / "s-rows.txt"
PAGE = TESTS.parent / "docs" / "s-rows.md"
LAST = 180

_IN_TEXT = re.compile(r"\bS-(\d{3})\b")
_IN_NAME = re.compile(r"(?:\b|_)[sS]_?(\d{3})(?=_|\b)")
_SHOWN = {"whole": "proven", "part": "part", "later": "not yet"}

HEAD = """\
# The rows of the Exchange Server 2003 model

<!-- Made by `python -m tests.s_rows`; do not edit.  The short texts are in s-rows.txt. -->

What an administrator of Exchange Server 2003 knows of SMTP, IMAP4 and POP3 virtual servers, row by row, and which test
proves it.  *proven*: all of the row is proven by the tests named; *part*: what is missing is said; *not yet*: not
built, and where there is a key for it, the key is refused.
"""


@frozen
class Row:
    """One row as docs/s-rows.txt claims it."""

    number: str
    state: str
    text: str
    missing: str


def claims() -> list[Row | str]:
    """The rows in order, headings between them as text.  Raises ValueError for a line that is none."""
    found: list[Row | str] = []
    for line in CLAIMS.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            found.append(line)
        elif line and not line.startswith("#"):
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) != 4 or cells[1] not in _SHOWN or not re.fullmatch(r"\d{3}", cells[0]):
                raise ValueError(f"{CLAIMS.name}: {line!r}")
            found.append(Row(*cells))
    return found


@cache
def proofs() -> dict[str, list[str]]:
    """Number of a row -> the tests that name it, as pytest calls them, without parameters."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((TESTS / "conversations").glob("*.txt")):
        comments = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        for number in {*_IN_TEXT.findall(path.stem), *_IN_TEXT.findall("\n".join(comments))}:
            found[number].add(f"conversations/{path.name}")
    for path in sorted(TESTS.rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if not _IN_NAME.search(source) and not _IN_TEXT.search(source):
            continue
        for name, words in _functions(source):
            for number in {*_IN_NAME.findall(name), *_IN_TEXT.findall(words)}:
                found[number].add(f"{path.relative_to(TESTS).as_posix()}::{name}")
    return {number: sorted(tests) for number, tests in found.items()}


def _functions(source: str) -> Iterator[tuple[str, str]]:
    """(name, docstring and comments) of every test function of a module."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            # A "#" inside a text is read as a comment too; a row's number does not stand there by accident.
            comments = [line.partition("#")[2] for line in lines[first - 1 : node.end_lineno] if "#" in line]
            yield node.name, "\n".join([ast.get_docstring(node) or "", *comments])


def problems() -> list[str]:
    """What does not fit together: rows that are missing or doubled, claims without a test, tests without a claim."""
    rows, tested = [row for row in claims() if isinstance(row, Row)], proofs()
    wrong = []
    if [row.number for row in rows] != [f"{number:03}" for number in range(1, LAST + 1)]:
        wrong.append(f"{CLAIMS.name} does not hold the rows 001 to {LAST} in their order")
    for row in rows:
        if row.state != "later" and row.number not in tested:
            wrong.append(f"S-{row.number} is claimed ({row.state}), but no test names it")
        if row.state == "later" and row.number in tested:
            wrong.append(f"S-{row.number} is named by {tested[row.number][0]}, but {CLAIMS.name} says it is not built")
        if (row.state == "part") != bool(row.missing):
            wrong.append(f"S-{row.number}: a part says what is missing, and nothing else does")
        if len(row.text.split()) > 10:
            wrong.append(f"S-{row.number}: more than ten words")
    return wrong + [f"S-{number} is no row: {tests[0]}" for number, tests in tested.items() if int(number) > LAST]


def page() -> str:
    """docs/s-rows.md"""
    rows, tested = claims(), proofs()
    states = [row.state for row in rows if isinstance(row, Row)]
    counts = ", ".join(f"{states.count(state)} {shown}" for state, shown in _SHOWN.items())
    lines = [HEAD, f"{len(states)} rows: {counts}.", ""]
    for row in rows:
        if isinstance(row, str):
            lines += [row, "", "| row | behaviour | state | tests |", "|---|---|---|---|"]
            continue
        tests = "<br>".join(f"`{test}`" for test in tested.get(row.number, ())) if row.state != "later" else ""
        state = _SHOWN[row.state] + (f"; missing: {row.missing}" if row.missing else "")
        lines.append(f"| S-{row.number} | {row.text} | {state} | {tests} |")
        following = rows.index(row) + 1
        if following < len(rows) and isinstance(rows[following], str):
            lines.append("")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    wrong = problems()
    text = page()
    current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if "--check" in arguments:
        wrong += ["docs/s-rows.md is out of date: python -m tests.s_rows"] if current != text else []
    elif current != text:
        PAGE.write_text(text, encoding="utf-8")
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
