"""Messages in the format of a server (floor 1): plain text, HTML, UUENCODE, BinHex, unpacked rich text (S-154..S-163).

`render(octets, options)` is all that a server needs, with `FormatOptions` and their `fingerprint`; docs/formats.md.
"""

from __future__ import annotations

from .options import FormatOptions, attachments_of, codec_of, fingerprint
from .render import render

__all__ = ["FormatOptions", "attachments_of", "codec_of", "fingerprint", "render"]
