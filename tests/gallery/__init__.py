"""Messages, and how each of them looks in every format.

`stored/NAME.eml` is what came in, `rendered/NAME/FORMAT.eml` what a server with that format serves; where that is the
stored message itself there is no file, and `index.txt` says so.  After a change of the rules, write all files anew and
read the differences; if there are any, `mailsrv.message.format.options.VERSION` has to rise:

    python -m tests.gallery
"""

from __future__ import annotations

from pathlib import Path

from mailsrv.message.format import FormatOptions, fingerprint, render

HERE = Path(__file__).resolve().parent
STORED, RENDERED, INDEX = HERE / "stored", HERE / "rendered", HERE / "index.txt"

FORMATS = (
    FormatOptions("text"),
    FormatOptions("text", "utf-8", rich_text="unpack"),
    FormatOptions("html"),
    FormatOptions("html", "utf-8"),
    FormatOptions("both", rich_text="unpack"),
    FormatOptions("both", attachments="uuencode"),
    FormatOptions("both", attachments="binhex", rich_text="unpack"),
)


def file_of(name: str, options: FormatOptions) -> Path:
    """Where a rendering is kept."""
    return RENDERED / name / (fingerprint(options).partition(".")[2] + ".eml")


def renderings() -> dict[Path, bytes]:
    """Every file of the gallery that is made, with its content."""
    found: dict[Path, bytes] = {}
    index = []
    for path in sorted(STORED.glob("*.eml")):
        octets = path.read_bytes()
        index.append(f"{path.stem}: {len(octets)} octets\n")
        for options in FORMATS:
            made = render(octets, options)
            if made is not octets:
                found[file_of(path.stem, options)] = made
            size = "as it is stored" if made is octets else f"{len(made)} octets"
            index.append(f"    {file_of(path.stem, options).stem}: {size}\n")
    found[INDEX] = "".join(index).encode()
    return found
