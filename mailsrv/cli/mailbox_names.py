"""Names of mailboxes as Maildir++ folders, and as files (floor 7)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..store.names import INBOX, SEPARATOR
from ..wire.imap_lexer import BadSyntax
from ..wire.imap_names import decode, encode

#: Other names for mailboxes with a special use, in lower case.
_USES = {
    "sent": "\\Sent", "sent items": "\\Sent", "sent messages": "\\Sent", "sent mail": "\\Sent", "sent-mail": "\\Sent",
    "draft": "\\Drafts", "drafts": "\\Drafts", "trash": "\\Trash", "deleted items": "\\Trash",
    "deleted messages": "\\Trash", "junk": "\\Junk", "spam": "\\Junk", "junk e-mail": "\\Junk", "junk mail": "\\Junk",
    "bulk mail": "\\Junk", "archive": "\\Archive", "archives": "\\Archive",
}  # fmt: skip


def level_of(octets: bytes) -> str:
    """One level of a folder's name: modified UTF-7, or what else it is.  "/" cannot stay, a dot is ``\\2e``."""
    try:
        text = decode(octets)
    except BadSyntax:
        # QUIRK: Dovecot with mailbox_list_utf8.
        text = octets.decode("utf-8", "replace")
    return re.sub(r"\\2e", ".", text).replace(SEPARATOR, "_")


def level_on_disk(level: str) -> bytes:
    """The level of a folder's name for one of a mailbox's."""
    return encode(level.replace(".", "\\2e"))


def folder_of(name: str) -> bytes:
    """The directory of a mailbox below a Maildir++ root; b"" for INBOX itself."""
    if name == INBOX:
        return b""
    return b"." + b".".join(level_on_disk(level) for level in name.split(SEPARATOR))


def name_of(folder: bytes) -> str:
    """The mailbox of a directory: "" for one that has an empty level."""
    levels = folder[1:].split(b".")
    return SEPARATOR.join(map(level_of, levels)) if all(levels) else ""


def placed(name: str, into: str, special: Mapping[str, str]) -> str:
    """Where a folder's messages go: below `into`, else to a mailbox of the same special use (use -> name)."""
    if into:
        return into if name == INBOX else f"{into}{SEPARATOR}{name}"
    return special.get(_USES.get(name.lower(), ""), name)


def file_of(name: str) -> str:
    """A file for a mailbox, below a folder: levels are folders; what cannot be a file's name is %XX."""
    levels = [
        re.sub(r"^\.|[%\x00]", lambda found: f"%{ord(found[0]):02X}", level) for level in name.split(SEPARATOR)
    ]
    return "/".join(levels) + ".mbox"


def name_of_file(path: str) -> str:
    """The mailbox of a file that `file_of` named."""
    return re.sub("%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), path.removesuffix(".mbox"))
