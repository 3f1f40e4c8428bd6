"""Values that cross the contracts (floor 0): frozen, without behaviour beyond reading themselves.

Names follow RFC 5598 (envelope, reverse path, content) and RFC 9051 (UID, MODSEQ, flag, keyword).  Octets that
go back to the wire as they came stay `bytes`; what is compared or typed by people is `str`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import define, field, frozen

# isort: off
from .identity import (
    AppPassword as AppPassword,
    AuthContext as AuthContext,
    Challenge as Challenge,
    ClientContext as ClientContext,
    Credentials as Credentials,
    Identity as Identity,
    NeedSecrets as NeedSecrets,
    Peer as Peer,
    Respond as Respond,
    Secrets as Secrets,
    StoredCredentials as StoredCredentials,
    TlsFacts as TlsFacts,
    Verify as Verify,
)
from .queueing import (
    Due as Due,
    Hop as Hop,
    NewQueued as NewQueued,
    Outcome as Outcome,
    Queued as Queued,
    Wanted as Wanted,
    state_of as state_of,
)
# isort: on
from .numbers import UidSet

if TYPE_CHECKING:
    from attrs import frozen as passing

    from .interfaces import IContent
else:
    #: Frozen, as the type checker sees to.  At run time nobody stands guard, which would double what making an object
    #: costs: for values that are made for every message, passed on, and kept by nobody.
    passing = define(unsafe_hash=True)

# ---------------------------------------------------------------- addresses and envelopes


@frozen(cache_hash=True)
class Address:
    """A mailbox address (RFC 5321 section 4.1.2): `local` unquoted, `domain` lower case with U-labels."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local


@passing
class Recipient:
    """One forward path with its parameters (RFC 3461 NOTIFY, ORCPT are kept as given)."""

    address: Address
    parameters: dict[str, str] = field(factory=dict)


@passing
class Envelope:
    """RFC 5598's envelope.  `reverse_path` None is the null path ``<>``; `parameters` are MAIL's."""

    reverse_path: Address | None
    recipients: tuple[Recipient, ...] = ()
    parameters: dict[str, str] = field(factory=dict)

    @property
    def body(self) -> str:
        """7BIT, 8BITMIME or BINARYMIME (RFC 6152, RFC 3030)."""
        return self.parameters.get("BODY", "7BIT").upper()


@define
class Transaction:
    """One mail transaction as policies see it: typed context that lives from MAIL to the verdict on content.

    `origin` is "local" (authenticated, relay list, control, embedding) or "outside" (S-077, decisions 32).
    `client_name` is the peer's host name by reverse DNS, confirmed forward, "" when there is none or nobody asked;
    `verified` whether it is the name of HELO (S-091; None: nobody asked).
    """

    server: str
    peer: Peer
    helo: str = ""
    protocol: str = "SMTP"
    identity: Identity | None = None
    reverse_path: Address | None = None
    recipients: list[Recipient] = field(factory=list)
    parameters: dict[str, str] = field(factory=dict)
    origin: str = "outside"
    client_name: str = ""
    verified: bool | None = None


@frozen
class Reply:
    """An SMTP reply: three-digit code, enhanced status ("" for none), lines of text."""

    code: int
    status: str
    lines: tuple[str, ...]


@frozen
class Verdict:
    """A policy's answer.  `action` is one of

    accept      go on; the next policy is asked
    reject      refused for good, with `text` and `status`
    tempfail    refused for now
    discard     accepted and dropped: one recipient, or the whole message
    quarantine  accepted, but into `mailbox` of each recipient
    redirect    accepted for `targets` instead of the recipient, or of all of them

    `part` and `rule` name who decided (for log and trace).  Of an answer that accepts, `fields` are header fields
    (whole lines with CRLF) put above the message, `removed` names of fields (lower case) taken out of its header;
    together they change a field.  `content` of an answer to on_content, for all recipients, is what the message is from
    now on, header and body; the server closes it.  Anywhere else it is a mistake.
    """

    action: str = "accept"
    text: str = ""
    status: str = ""
    part: str = ""
    rule: str = ""
    fields: tuple[bytes, ...] = ()
    removed: tuple[bytes, ...] = ()
    mailbox: str = ""
    targets: tuple[Address, ...] = ()
    content: IContent | None = field(default=None, eq=False, repr=False)


ACCEPT = Verdict()

# ---------------------------------------------------------------- directory


@frozen
class Owner:
    """An address belongs to this account.  `mailbox` is where mail for it goes (a subaddress may differ)."""

    account_id: int
    tenant_id: int = 0
    mailbox: str = "INBOX"


@frozen
class Forward:
    """An alias or list: mail goes to these addresses instead."""

    targets: tuple[Address, ...]


@frozen
class Unknown:
    """The domain is ours, the local part is nobody's."""


@frozen
class DomainFacts:
    """One domain of the directory.  `kind` is local, shared or relay (decisions 12)."""

    name: str
    kind: str = "local"
    subaddress: str = "+"
    catch_all: str = ""


@frozen
class AccountFacts:
    """One account.  `address` is its primary address, the id never changes; `keep` and `denied` as in
    `StoredCredentials`.  Octets: `quota` of all its messages, `max_in` of one message for it, `max_out` of one from it
    (S-120); None: what the site says."""

    account_id: int
    address: Address
    tenant_id: int = 0
    enabled: bool = True
    created_at: float = 0.0
    keep: frozenset[str] | None = None
    denied: frozenset[str] = frozenset()
    quota: int | None = None
    max_in: int | None = None
    max_out: int | None = None


@passing
class Route:
    """Where a recipient's mail goes next: into the mailboxes of `placements`, and on to other servers for the
    addresses of `onward`, each with its destination in the queue (a domain, or the name of a route)."""

    placements: tuple[Owner, ...] = ()
    onward: tuple[tuple[str, Address], ...] = ()


# ---------------------------------------------------------------- mailboxes

#: System flags in bit order (RFC 9051 section 2.3.2); keywords follow from bit 5 in a mailbox's own order.
SYSTEM_FLAGS = (b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Seen", b"\\Draft")
ANSWERED, FLAGGED, DELETED, SEEN, DRAFT = 1, 2, 4, 8, 16
FIRST_KEYWORD_BIT = 5


@frozen
class NewMessage:
    """A message to be appended.  `internal_date` is UTC epoch seconds, `zone` minutes east of UTC; `unique_id` is what
    POP3 is to show for it, 1 to 70 octets from ! to ~, b"" for what is usual here: of a message of another server.
    `international`: its header has UTF-8, as that of a message that came with SMTPUTF8."""

    content: IContent
    flags: frozenset[bytes] = frozenset()
    internal_date: int = 0
    zone: int = 0
    unique_id: bytes = b""
    international: bool = False


@passing
class Placement:
    """A local recipient's share of a delivery."""

    account_id: int
    mailbox: str = "INBOX"
    flags: frozenset[bytes] = frozenset()


@passing
class NewDelivery:
    """What goes through the one durable door: content once, a placement per local recipient, a queue row per
    destination elsewhere (for a store that is an IQueue).

    `origin` as in Transaction; `id` is the accepting id (decisions 31); `received_at` UTC epoch seconds, `zone`
    minutes east of UTC.
    """

    id: str
    envelope: Envelope
    content: IContent
    placements: tuple[Placement, ...]
    received_at: float
    zone: int = 0
    server: str = ""
    queued: tuple[NewQueued, ...] = ()
    origin: str = "outside"


@frozen
class FlagChange:
    """`action` is add, remove or replace (IMAP +FLAGS, -FLAGS, FLAGS)."""

    action: str
    flags: frozenset[bytes]


@frozen
class Appended:
    """APPENDUID: the UIDs in the order of the messages given (RFC 4315)."""

    uidvalidity: int
    uids: tuple[int, ...]


@frozen
class Copied:
    """COPYUID: `(source uid, new uid)` in ascending source order; messages that were gone are left out."""

    uidvalidity: int
    pairs: tuple[tuple[int, int], ...]


@frozen
class MailboxInfo:
    """One line of a mailbox list.  `exists` False: only a subscription of that name is left.

    `special_use` is an RFC 6154 attribute (``b"\\\\Sent"``) or None.  The hierarchy separator is "/".
    """

    name: str
    mailbox_id: int = 0
    uidvalidity: int = 0
    special_use: bytes | None = None
    subscribed: bool = False
    exists: bool = True


@frozen
class MailboxState:
    """Counters of one mailbox, from its row: no message is read (RFC 9051 section 6.3.11)."""

    mailbox_id: int
    uidvalidity: int
    uidnext: int
    highest_modseq: int
    exists: int
    unseen: int
    deleted: int
    octets: int
    recent: int = 0


@frozen
class Shared:
    """A mailbox to which others have rights: `grants` by identifier, "anyone", "#17" (the account of that id), or one
    of these behind "-", whose rights are taken away (RFC 4314 section 2)."""

    account_id: int
    name: str
    mailbox_id: int
    grants: dict[str, str]


class Columns:
    """The shared live view of one open mailbox: parallel columns, UIDs ascending.

    All sessions that have the mailbox open in this process refer to one `Columns`.  Its provider may append to
    the lists and overwrite `flags` and `modseqs` entries in place; a change that removes rows replaces all
    three lists by new ones, so that a session may keep an old `uids` list with its own length as its view.
    `flags` are bit masks of any size: bits 0-4 are `SYSTEM_FLAGS`, bit 5 + i is `keywords[i]`.
    """

    __slots__ = ("flags", "keywords", "modseq", "modseqs", "uids")

    def __init__(self) -> None:
        self.uids: list[int] = []
        self.flags: list[int] = []
        self.modseqs: list[int] = []
        self.keywords: list[bytes] = []
        self.modseq = 0


@frozen
class Changes:
    """What differs from a moment in the past: rows added or changed with MODSEQ above it, and UIDs vanished.

    `modseq` is the moment to ask from next.  `floor` True: the past is too old to know what vanished; then
    `uids` are all that exist, and whatever else the asker knew is gone.
    """

    modseq: int
    uids: Sequence[int]
    flags: Sequence[int]
    modseqs: Sequence[int]
    vanished: UidSet
    floor: bool = False


@frozen
class Peculiar:
    """Messages that POP3 shows in another way: `unique_ids`, UID -> unique id (RFC 1939 section 7) of those that were
    appended with one; `international`, UIDs of those that were delivered with SMTPUTF8 (RFC 6531) or appended
    as such, and of their copies."""

    unique_ids: Mapping[int, bytes] = field(factory=dict)
    international: Sequence[int] = ()


@frozen
class Updated:
    """A flag change's result: all rows addressed, as they are now, and the UIDs refused because their MODSEQ was above
    the condition (RFC 7162).  `modseq` is the mailbox's highest after it, `before` that before it (-1: unknown)."""

    modseq: int
    uids: Sequence[int]
    flags: Sequence[int]
    conflicts: UidSet = UidSet()
    before: int = -1  # only given when no change by others lies between it and `modseq`


@define
class MessageFacts:
    """What is known of a message without reading its content; not asked for: the default."""

    uid: int
    size: int = 0
    internal_date: int = 0
    zone: int = 0
    saved_at: int = 0
    email_id: str = ""
    #: The opaque records of `message/summary.py` and `message/head.py`, or None when they have not been made yet.
    summary: bytes | None = None
    head: bytes | None = None

