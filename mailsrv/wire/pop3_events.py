"""What a POP3 client says (floor 1): one class per command of RFC 1939, RFC 2449, RFC 2595, RFC 5034, RFC 6856.

Message numbers are as sent (0 and numbers too high included): the session knows which exist.
"""

from __future__ import annotations

from attrs import define, field


@define
class Capa:
    """CAPA (RFC 2449 section 5)."""


@define
class Stls:
    """STLS (RFC 2595 section 4); the engine pauses until `tls_started` or `resume`."""


@define
class User:
    """USER with the rest of its line."""

    name: str


@define
class Pass:
    """PASS with the rest of its line, spaces included (RFC 1939 section 7)."""

    password: str = field(repr=False)


@define
class Apop:
    """APOP (RFC 1939 section 7) with a name and 32 hexadecimal digits."""

    name: str
    digest: bytes = field(repr=False)


@define
class Utf8:
    """UTF8 (RFC 6856 section 2)."""


@define
class Lang:
    """LANG (RFC 6856 section 3); None: which languages are there."""

    tag: str | None


@define
class Auth:
    """AUTH (RFC 5034): upper-case mechanism; `initial` is decoded, b"" for "=", None when it was left out."""

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@define
class Mechanisms:
    """AUTH alone: which mechanisms are there.

    QUIRK: no RFC defines it; Outlook Express and its successors ask so instead of by CAPA.
    """


@define
class Quit:
    """QUIT; nothing follows."""


@define
class Stat:
    """STAT."""


@define
class List:
    """LIST; None: all messages."""

    number: int | None


@define
class Uidl:
    """UIDL; None: all messages."""

    number: int | None


@define
class Retr:
    """RETR."""

    number: int


@define
class Top:
    """TOP: the header and `lines` lines of the body."""

    number: int
    lines: int


@define
class Dele:
    """DELE, once or several times in a row: the numbers in the order they came, each to be answered by itself."""

    numbers: tuple[int, ...]


@define
class Noop:
    """NOOP."""


@define
class Rset:
    """RSET."""


@define
class Response:
    """The client's answer to a challenge, decoded."""

    octets: bytes = field(repr=False)


@define
class Abort:
    """The client gave up the exchange with "*"."""


@define
class Mistake:
    """A line that is no command here and now; `text` is safe to send back."""

    text: str


@define
class Overflow:
    """The client sends more than it may: nothing follows, the connection has to end."""


Event = (
    Capa
    | Stls
    | User
    | Pass
    | Apop
    | Utf8
    | Lang
    | Auth
    | Mechanisms
    | Quit
    | Stat
    | List
    | Uidl
    | Retr
    | Top
    | Dele
    | Noop
    | Rset
    | Response
    | Abort
    | Mistake
    | Overflow
)
