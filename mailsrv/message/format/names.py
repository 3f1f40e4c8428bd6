"""Names and types of attachments (floor 1): S-155."""

from __future__ import annotations

import re

#: What a name's ending says, fixed here: a machine's own table would make renderings differ.
_TYPES = """
application/pdf pdf | application/postscript ps eps | application/rtf rtf | application/zip zip
application/gzip gz tgz
application/x-tar tar | application/x-7z-compressed 7z | application/vnd.rar rar | application/x-bzip2 bz2
application/msword doc dot | application/vnd.ms-excel xls xlt | application/vnd.ms-powerpoint ppt pps pot
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.presentationml.slideshow ppsx
application/vnd.oasis.opendocument.text odt | application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.presentation odp | application/vnd.oasis.opendocument.graphics odg
application/vnd.visio vsd | application/vnd.ms-project mpp | application/x-msaccess mdb | application/epub+zip epub
application/json json | application/xml xml xsd xsl | application/javascript js | application/x-sh sh
application/mac-binhex40 hqx | application/x-stuffit sit
application/vnd.ms-outlook msg | application/x-msdownload exe dll
text/plain txt log asc ini conf diff patch | text/html html htm | text/csv csv | text/css css | text/markdown md
text/calendar ics | text/vcard vcf | text/tab-separated-values tsv
image/jpeg jpg jpeg jpe | image/png png | image/gif gif | image/bmp bmp | image/tiff tif tiff | image/webp webp
image/svg+xml svg | image/vnd.microsoft.icon ico | image/heic heic | image/avif avif | image/emf emf | image/wmf wmf
audio/mpeg mp3 | audio/wav wav | audio/ogg ogg oga | audio/midi mid midi | audio/mp4 m4a | audio/flac flac
audio/aac aac
video/mp4 mp4 m4v | video/mpeg mpg mpeg | video/quicktime mov qt | video/x-msvideo avi | video/webm webm
video/x-ms-wmv wmv | font/ttf ttf | font/otf otf | font/woff woff | font/woff2 woff2
"""


def _table() -> dict[str, bytes]:
    rows = [row.split() for line in _TYPES.split("\n") for row in line.split("|") if row.strip()]
    return {ending: row[0].encode("ascii") for row in rows for ending in row[1:]}


_BY_ENDING = _table()
_ENDINGS = {kind: ending for ending, kind in reversed(_BY_ENDING.items())}
#: Not for a file name on any system, or read as something else in one.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069<>:\"|?*`]+")
#: Media types that say nothing (RFC 2046 section 4.5.1), as senders write them.
UNTYPED = frozenset({b"application/octet-stream", b"application/x-octet-stream", b"application/unknown"})
MAX_NAME = 120


def type_of(name: str) -> bytes | None:
    """The media type of a file of that name; None when the ending says nothing."""
    return _BY_ENDING.get(name.rpartition(".")[2].lower()) if "." in name else None


def safe_name(name: str | None, kind: bytes, number: int) -> str:
    """A file name without folders and without characters that mean something to a system.

    Without a name it is made of `number` and the media type: `attachment-2.pdf`.
    """
    name = re.split(r"[/\\]", name or "")[-1]
    name = _UNFIT.sub("_", name).strip(" .")
    if len(name) > MAX_NAME:
        stem, dot, ending = name.rpartition(".")
        name = stem[: MAX_NAME - len(ending) - 1] + dot + ending if dot and len(ending) < 12 else name[:MAX_NAME]
    if name:
        return name
    ending = "eml" if kind.startswith(b"message/") else _ENDINGS.get(kind, "bin")
    return f"attachment-{number}.{ending}"
