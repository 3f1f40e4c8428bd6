"""What the SMTP engine tells its session (floor 1)."""

from __future__ import annotations

from attrs import define, field

from ..values import Address, Reply
from .smtp_binary import BinaryReader
from .smtp_data import BodyReader, ChunkReader


@define
class Hello:
    """EHLO or LHLO (`extended`), or HELO; `name` as the client gave it."""

    extended: bool
    name: str


@define
class Mail:
    """MAIL FROM; `path` None is ``<>``.  `utf8`: it was written with other characters than ASCII."""

    path: Address | None
    parameters: dict[str, str]
    utf8: bool = False


@define
class Rcpt:
    """RCPT TO; `utf8` as in Mail."""

    path: Address
    parameters: dict[str, str]
    utf8: bool = False


@define
class Plain:
    """A command with nothing to read: DATA RSET NOOP QUIT STARTTLS HELP VRFY EXPN ETRN."""

    verb: str
    argument: str = ""


@define
class Chunk:
    """BDAT; `size` octets follow, and are dropped unless the session calls `take_chunk` (RFC 3030 section 2)."""

    size: int
    last: bool


@define
class Auth:
    """AUTH; `initial` None without one, b"" for "="; `valid` False: it is not base64."""

    mechanism: str
    initial: bytes | None = field(repr=False)
    valid: bool = True


@define
class AuthResponse:
    """A response in an AUTH exchange; None: the client sent ``*``; `valid` False: it is not base64."""

    octets: bytes | None = field(repr=False)
    valid: bool = True


@define
class Body:
    """Octets of the message; with `last` the end of it (DATA) or of the chunk (BDAT) was reached.  `reader` tells what
    is wrong with the message so far."""

    octets: bytes
    last: bool
    reader: BodyReader | ChunkReader | BinaryReader


@define
class Wrong:
    """What the client sent is no command: the reply to give.  `fatal`: what follows cannot be trusted to be commands,
    so that the connection has to end; `foreign`: it speaks another protocol."""

    reply: Reply
    fatal: bool = False
    foreign: bool = False


def wrong(code: int, status: str, text: str, fatal: bool = False, foreign: bool = False) -> Wrong:
    """A mistake with its reply of one line."""
    return Wrong(Reply(code, status, (text,)), fatal, foreign)
