"""Events of the IMAP4 server engine (floor 1): one class per command, arguments already decoded.

RFC 3501, RFC 9051 and the extensions named.  `tag` is echoed as it came.  Mailbox names are NFC text
(modified UTF-7 is undone by the engine); flags are octets as the client wrote them.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

from ..numbers import NumSet, UidSet
from ..query import Query


@define
class Request:
    """Base of all commands.  `name` is the command's name in upper case, with "UID " before UID forms; `spelled` the
    (last) mailbox as it was written in UTF-8, "" when it is kept under that very name (RFC 9051 section 5.1)."""

    tag: bytes
    name: str
    spelled: str = field(default="", kw_only=True)


@define
class Simple(Request):
    """A command without arguments: CAPABILITY NOOP LOGOUT STARTTLS CHECK CLOSE UNSELECT NAMESPACE IDLE
    UNAUTHENTICATE, and EXPUNGE without a set.

    IDLE: a session that takes it writes "+" and calls `engine.idle()`; the next line then is `Done`.
    STARTTLS: the engine gives PAUSED until `tls_started()`, or `tls_refused()` after a BAD or NO.
    LOGOUT: the engine gives no more events."""


@define
class Done:
    """The client ended IDLE; `valid` False: it sent something else (the session answers BAD)."""

    tag: bytes
    valid: bool = True


@define
class Continue:
    """The client waits to send a literal of the command: the session writes ``+ OK`` and goes on."""


@define
class Invalid:
    """A command that is no command: the session answers `* BAD` (tag None) or `tag BAD`, counts it, and
    closes after it when `fatal` (then the engine gives no more events).  `text` is safe to show.  It may come
    in the place of `AppendMessage` or `AppendEnd`: all messages of that APPEND are dropped."""

    tag: bytes | None
    text: str
    fatal: bool = False


@define
class BadCharset:
    """A SEARCH with a CHARSET we do not know: the session answers `tag NO [BADCHARSET (UTF-8 US-ASCII)]`.

    `saving`: it had SAVE, so its refusal empties the saved result (RFC 5182 section 2.1)."""

    tag: bytes
    name: str
    saving: bool = False


@define
class Login(Request):
    """LOGIN."""

    username: str
    password: str = field(repr=False)


@define
class Authenticate(Request):
    """AUTHENTICATE (RFC 4959: `initial` decoded, b"" for "=", None without).  Each client response then is an
    `AuthResponse` until the session tells the engine `auth_done()`."""

    mechanism: str
    initial: bytes | None = field(repr=False)


@define
class AuthResponse:
    """A client response, base64 undone.  None: the client sent `*` (abort).  `valid` False: not base64."""

    octets: bytes | None = field(repr=False)
    valid: bool = True


@define
class Named(Request):
    """A command with one mailbox: DELETE SUBSCRIBE UNSUBSCRIBE GETQUOTAROOT GETACL MYRIGHTS."""

    mailbox: str


@define
class Qresync:
    """SELECT's QRESYNC (RFC 7162 section 3.2.5): what the client's copy is of.

    `known` is None when the client names no UIDs: all there ever were.  `matches` are its message numbers and the
    UIDs that had them, as many of each, or None.
    """

    uidvalidity: int
    modseq: int
    known: UidSet | None = None
    matches: tuple[UidSet, UidSet] | None = None


@define
class Select(Request):
    """SELECT and EXAMINE; `parameters` as upper-case name -> argument (RFC 4466): of CONDSTORE None, of QRESYNC a
    `Qresync`; of others the raw octets.  Here, in FETCH and in STORE the session answers BAD to those it does not
    know."""

    mailbox: str
    parameters: dict[str, Any] = field(factory=dict)


@define
class Create(Request):
    """CREATE, with RFC 6154 USE attributes."""

    mailbox: str
    use: tuple[bytes, ...] = ()


@define
class Rename(Request):
    """RENAME."""

    mailbox: str
    new_name: str


@define
class List(Request):
    """LIST (RFC 3501, RFC 5258 forms with options) and LSUB.  Patterns are text with `%` and `*`.

    `select` holds of SUBSCRIBED REMOTE RECURSIVEMATCH SPECIAL-USE, `returns` of SUBSCRIBED CHILDREN SPECIAL-USE
    STATUS, whose items are `status` (RFC 5819), and METADATA, whose entries are `metadata` (RFC 9590), and
    MYRIGHTS (RFC 8440).  `extended`: the client used one of the RFC 5258 forms.
    """

    reference: str
    patterns: tuple[str, ...]
    select: frozenset[str] = frozenset()
    returns: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    extended: bool = False
    metadata: tuple[str, ...] = ()


@define
class Status(Request):
    """STATUS; items in upper case: MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE HIGHESTMODSEQ MAILBOXID
    APPENDLIMIT DELETED-STORAGE, nothing else."""

    mailbox: str
    items: tuple[str, ...]


@define
class Quota(Request):
    """GETQUOTA and SETQUOTA (RFC 9208); `limits` by resource in upper case, empty of GETQUOTA."""

    root: bytes
    limits: dict[str, int] = field(factory=dict)


@define
class GetMetadata(Request):
    """GETMETADATA (RFC 5464); `mailbox` "" is the server, entries are in lower case.  `maxsize`: larger values are
    left out; `depth`: so many levels below the entries too, None: all."""

    mailbox: str
    entries: tuple[str, ...]
    maxsize: int | None = None
    depth: int | None = 0


@define
class SetMetadata(Request):
    """SETMETADATA (RFC 5464): entry in lower case -> value, None: remove it."""

    mailbox: str
    values: dict[str, bytes | None] = field(repr=False)


@define
class Acl(Request):
    """DELETEACL and LISTRIGHTS (RFC 4314)."""

    mailbox: str
    identifier: str


@define
class SetAcl(Request):
    """SETACL; `sign` is "+", "-" or "" (RFC 4314 section 3.1); rights may be letters that mean nothing."""

    mailbox: str
    identifier: str
    sign: str
    rights: str


@define
class Id(Request):
    """ID (RFC 2971)."""

    parameters: dict[str, str | None]


@define
class Enable(Request):
    """ENABLE (RFC 5161); names in upper case."""

    capabilities: tuple[str, ...]


@define
class Compress(Request):
    """COMPRESS (RFC 4978); `mechanism` in upper case."""

    mechanism: str


@define
class Search(Request):
    """SEARCH and UID SEARCH.  `returns` is None without RETURN (RFC 4731), else of MIN MAX ALL COUNT SAVE PARTIAL.

    `partial` are the first and the last place of PARTIAL (RFC 9394): from 1, or from -1 when counted from the end.
    `charset`: the one that was named, in upper case, b"" for none.
    """

    query: Query
    returns: frozenset[str] | None = None
    partial: tuple[int, int] | None = None
    charset: bytes = b""


@define
class Sort(Search):
    """SORT and UID SORT (RFC 5256, RFC 5957).  `keys` are (name in upper case, whether REVERSE came before it)."""

    keys: tuple[tuple[str, bool], ...] = ()


@define
class Thread(Request):
    """THREAD and UID THREAD (RFC 5256); `algorithm` is ORDEREDSUBJECT or REFERENCES."""

    algorithm: str
    query: Query
    charset: bytes = b""


@define
class Section:
    """What is inside BODY[...]: part numbers, then "" (the part's body or the whole message), HEADER,
    HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME; `fields` as the client wrote them."""

    part: tuple[int, ...] = ()
    text: str = ""
    fields: tuple[bytes, ...] = ()


@define
class FetchItem:
    """One data item.  `name` is FLAGS UID MODSEQ INTERNALDATE ENVELOPE BODY BODYSTRUCTURE RFC822.SIZE, or SECTION, or
    BINARY or BINARY.SIZE (RFC 3516), or PREVIEW (RFC 8970; `label` LAZY where that was said).

    For SECTION and these: `section`, `peek`, `partial` (offset, count) and `label`, the octets that name the item in
    the response (``BODY[HEADER]<0>``, ``RFC822.TEXT``).
    """

    name: str
    section: Section | None = None
    peek: bool = True
    partial: tuple[int, int] | None = None
    label: bytes = b""


@define
class Fetch(Request):
    """FETCH and UID FETCH; macros are expanded.  `modifiers` as in Select: of CHANGEDSINCE the MODSEQ, of VANISHED
    None (RFC 7162 sections 3.1.4.1, 3.2.6)."""

    numbers: NumSet
    items: tuple[FetchItem, ...]
    modifiers: dict[str, Any] = field(factory=dict)


@define
class EventGroup:
    """One group of NOTIFY (RFC 5465): `filter` in upper case, `names` of SUBTREE and MAILBOXES; events in upper case
    -> as they were spelled, none for NONE; `items` to be fetched of new messages."""

    filter: str
    names: tuple[str, ...]
    events: dict[str, str]
    items: tuple[FetchItem, ...] = ()


@define
class Notify(Request):
    """NOTIFY; `groups` None: nothing; `status`: STATUS first."""

    groups: tuple[EventGroup, ...] | None
    status: bool


@define
class Store(Request):
    """STORE and UID STORE.  `action` is add, remove or replace.  `modifiers` as in Select: of UNCHANGEDSINCE the
    MODSEQ (RFC 7162 section 3.1.3)."""

    numbers: NumSet
    action: str
    silent: bool
    flags: tuple[bytes, ...]
    modifiers: dict[str, Any] = field(factory=dict)


@define
class Copy(Request):
    """COPY, UID COPY, MOVE and UID MOVE (RFC 6851)."""

    numbers: NumSet
    mailbox: str


@define
class UidExpunge(Request):
    """UID EXPUNGE (RFC 4315)."""

    numbers: NumSet


# APPEND is a small conversation, so that messages stream (RFC 3502: any number of them):
#   Append, { AppendMessage, AppendOctets..., } AppendEnd
# After AppendMessage the engine is PAUSED until the session calls engine.accept_literal() (for a synchronising
# literal `Continue` comes next) or engine.refuse_append(): then a synchronising literal is not read at all,
# other octets are dropped, and the rest of the command gives no more events; the session answers NO at once.
# refuse_append() may also be called after Append, in place of asking for AppendMessage, and between the octets.


@define
class Append(Request):
    """APPEND began."""

    mailbox: str


@define
class Replace(Append):
    """REPLACE and UID REPLACE (RFC 8508): the same with one message, and the number of the one that goes."""

    numbers: NumSet


@define
class AppendMessage:
    """One message is announced: `size` octets will follow; `synchronising`: the client waits for "+"; `binary`: they
    may be any (literal8, RFC 3516); `utf8`: its header may have UTF-8 (RFC 6855 section 4)."""

    flags: tuple[bytes, ...]
    internal_date: int | None
    zone: int
    size: int
    synchronising: bool
    binary: bool = False
    utf8: bool = False


@define
class AppendOctets:
    """The next octets of the message; their sizes add up to `AppendMessage.size`."""

    octets: bytes


@define
class AppendEnd:
    """The command is complete: all messages are there, the session commits and answers the tag."""

    tag: bytes
