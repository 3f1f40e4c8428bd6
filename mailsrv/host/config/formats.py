"""[imap.NAME.format] and [pop3.NAME.format]: how clients see messages (floor 6; S-154..S-163)."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ...message.format import FormatOptions, attachments_of, codec_of
from ...message.format.options import BODIES, CHARSET, RICH_TEXTS
from ...parts import FLAG, TEXT, Kind, choice, option


def _read_charset(value: Any) -> str:
    """A character set for mail."""
    name = TEXT.read(value)
    if codec_of(name) is None:
        raise ValueError(f'must be a character set for mail such as "utf-8" or "iso-8859-1", not {value!r}')
    return name.lower()


@frozen(kw_only=True)
class FormatTable:
    """[imap.NAME.format]"""

    body: str = option(
        choice(*BODIES), "both",
        "text: HTML becomes plain text; html: text becomes HTML; both: as the sender made it (S-159..S-161)",
    )
    charset: str = option(Kind("character set", _read_charset), CHARSET, "of all text that is rewritten (S-163)")
    rich_text: str = option(
        choice(*RICH_TEXTS), "stored",
        "winmail.dat of Outlook: stored passes it on, unpack makes text and attachments of it (S-155, S-162)",
    )

    def options(self) -> FormatOptions:
        """As the renderer wants them."""
        return FormatOptions(body=self.body, charset=self.charset, rich_text=self.rich_text)


@frozen(kw_only=True)
class Pop3FormatTable(FormatTable):
    """[pop3.NAME.format]"""

    encoding: str = option(
        choice("mime", "uuencode"), "mime", "uuencode: attachments in the text, for clients without MIME (S-157)"
    )
    binhex: bool = option(FLAG, False, 'with encoding = "uuencode": BinHex 4.0 instead, for Macintosh files (S-158)')

    def options(self) -> FormatOptions:
        """As the renderer wants them."""
        attachments = attachments_of(self.encoding, self.binhex)
        return FormatOptions(
            body=self.body, charset=self.charset, rich_text=self.rich_text, attachments=attachments
        )
