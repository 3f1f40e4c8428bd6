"""The contracts (floor 0): all that the author of a part must read.

A part is found by contract and name (`mailsrv.parts`).  `async` methods are coroutines; a provider that can
answer at once simply does not await.  Expected failures are raised as `mailsrv.errors`; anything else is a bug.
Which need of which room each method serves is told in `docs/decisions/0001`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from . import values as v
from .interfaces_sharing import IGrants as IGrants
from .interfaces_sharing import IMetadata as IMetadata
from .interfaces_sharing import INotices as INotices
from .interfaces_transfer import IDeliveryAgent as IDeliveryAgent
from .interfaces_transfer import IQueue as IQueue
from .numbers import UidSet
from .query import Query


class IPart(Interface):
    """A thing that the configuration can name."""

    contract = Attribute("the Interface that `build` provides")
    name = Attribute("text, unique among the parts of that contract")
    options = Attribute("an attrs class: the keys allowed in this part's table of the configuration")

    def build(options: Any, site: Any) -> Any:
        """A provider of `contract`.  Raises ConfigError."""


class IContent(Interface):
    """Immutable octets of one message, CRLF line ends as received; in memory, in a file or in a store."""

    size = Attribute("octets")

    def chunks() -> Iterator[bytes]:
        """All octets in pieces of at most 256 KiB; may block on a file, so for writer threads and tests."""

    async def read(offset: int, length: int) -> bytes:
        """The octets [offset, offset + length), shorter at the end.  Raises StoreUnavailable."""

    def close() -> None:
        """Let go of a file or pin; idempotent."""


class IAuthenticator(Interface):
    """Says who somebody is."""

    schemes = Attribute("frozenset of credentials schemes it can check: password, response, token ...")

    async def authenticate(credentials: v.Credentials, context: v.AuthContext) -> v.Identity | None:
        """The identity; None: not mine, ask the next authenticator.

        Raises AuthenticationFailed (mine, and wrong: nobody else is asked) or TryLater (454 4.7.0,
        NO [UNAVAILABLE], -ERR [SYS/TEMP]).
        """


class ISecrets(Interface):
    """Add-on of an authenticator that keeps secrets, so that a client can prove to know its password without
    showing it.  Its `schemes` hold "secret"; a proof ends in `authenticate` with the same secrets."""

    kinds = Attribute("frozenset of the kinds it may keep: scram-sha-1, scram-sha-256, cram-md5, ntlm")

    async def secrets(kind: str, username: str, context: v.AuthContext) -> v.Secrets | None:
        """What is kept for that login; None: not mine, or not kept.  Raises AuthenticationFailed for what can be
        nobody's name, TryLater."""


class ISaslMechanism(Interface):
    """One SASL mechanism (RFC 4422), without input or output."""

    name = Attribute("text, upper case")
    method = Attribute("which word of a server's `authentication` switches it on: anonymous, basic, ntlm, sasl")
    scheme = Attribute("what an authenticator must be able to check for it to be offered")
    secret = Attribute('the kind of secrets it needs (`ISecrets`), "" for none')
    plaintext = Attribute("True when it shows the password on the wire: offered only under TLS by default")
    channel = Attribute(
        '"": TLS is nothing to it; "facts": it looks at `peer.tls`; "binding": not without TLS (the -PLUS mechanisms); '
        '"certificate": not without a certificate of the client'
    )

    def exchange(context: v.AuthContext, initial: bytes | None) -> Generator[Any, Any, v.Identity]:
        """The server side: yields Challenge (resumed with the client's octets), NeedSecrets (with Secrets or None)
        and Verify (with the Identity); returns the Identity.  Raises AuthenticationFailed on a malformed message
        or a wrong proof, in the same words and after the same work whether there is such a user or not."""


class IClientMechanism(Interface):
    """Add-on of a mechanism: the client side, for logging in at other servers (S-108..S-110)."""

    def respond(context: v.ClientContext) -> Generator[v.Respond, bytes, None]:
        """Yields Respond: first the initial response (octets None: the server speaks first), then one for each
        challenge it is resumed with.  Raises AuthenticationFailed when the server does not prove itself or makes
        no sense."""


class IAuthorizer(Interface):
    """The one place that says what an identity may do."""

    async def permits(identity: v.Identity | None, action: str, resource: str) -> v.Verdict:
        """`action` is a dotted word: server.use (S-104), server.relay (S-137), mailbox.RIGHT (RFC 4314),
        send.as, login.as (an authzid), admin.NOUN.VERB; `resource` what it is done to, for example a virtual
        server's name or an address."""


class IMessagePolicy(Interface):
    """Rules about mail in transit; one object serves one connection, made by the part's build(), or by
    `for_connection()` of what build() gives, if it has that: it may share something among connections.

    Policies are asked in order; the first that refuses or discards ends it, fields of all that accept add up, and of
    quarantine and redirect the first holds.  Answers may take their time, up to `timeout` seconds (an attribute; 30).
    Lateness, a broken connection of the policy's own and TryLater are failures, and `on_failure` (an attribute) says
    what they mean: "tempfail", or "open": as if it had accepted.  Another MailError raised is a refusal with its
    status.  What is no MailError is a bug: the client hears 451 and is disconnected.
    """

    async def on_sender(transaction: v.Transaction) -> v.Verdict:
        """MAIL was read; `transaction.reverse_path` is set."""

    async def on_recipient(transaction: v.Transaction, recipient: v.Recipient) -> v.Verdict:
        """RCPT was read; the recipient is not yet in `transaction.recipients`."""

    async def on_content(
        transaction: v.Transaction, content: IContent
    ) -> v.Verdict | Mapping[v.Address, v.Verdict]:
        """The whole message is there, nothing is acknowledged yet.  A mapping is for single recipients: LMTP tells
        each its own, SMTP refuses for all what one refuses."""


class IConnectionPolicy(Interface):
    """Add-on of a message policy's object: further moments of its connection; one that it has no method for is not
    asked about.  A verdict that does not accept ends the connection (connect), or refuses the command; of DATA it may
    be any of a message's."""

    async def on_connect(peer: v.Peer, client_name: str) -> v.Verdict:
        """Before the greeting; `client_name` as in Transaction."""

    async def on_helo(helo: str, peer: v.Peer, client_name: str) -> v.Verdict:
        """EHLO, HELO or LHLO was read."""

    async def on_authenticated(identity: v.Identity, peer: v.Peer) -> v.Verdict:
        """Somebody has logged in; a refusal takes it back."""

    async def on_data(transaction: v.Transaction) -> v.Verdict:
        """DATA, or the first BDAT, was read; there are recipients."""

    async def on_abort(transaction: v.Transaction) -> None:
        """The transaction ended without a message: RSET, EHLO, STARTTLS, a refusal, the end of the connection."""

    async def on_close() -> None:
        """The connection is gone."""


class IAccessFilter(Interface):
    """Says who may connect to a virtual server, before anything is said (S-034..S-044)."""

    async def admit(peer: v.Peer) -> v.Verdict:
        """accept, reject, or tempfail (a name could not be looked up); `rule` says what decided."""


class IResolver(Interface):
    """The domain name system."""

    async def lookup(name: str, kind: str) -> Sequence[Any]:
        """The records of one kind, () when there are none: of "A" and "AAAA" IP texts, of "PTR" host names, of "MX"
        (preference, host name), of "TXT" octets.  Names are lower case without the final dot; aliases are followed.
        Raises TryLater when no server answers in time."""


class IRouter(Interface):
    """Says where a recipient's mail goes next."""

    async def route(address: v.Address, transaction: v.Transaction) -> v.Route:
        """Raises NoSuchRecipient, RelayDenied, Unroutable, TryLater."""


class IDirectory(Interface):
    """Domains, accounts and aliases, as delivery and login ask for them."""

    async def resolve(address: v.Address) -> v.Owner | v.Forward | v.Unknown:
        """Who owns an address of a domain that is ours.  Local parts are compared without case; a subaddress
        is tried after the whole local part.  Raises TryLater."""

    async def domain(name: str) -> v.DomainFacts | None:
        """Facts of a domain that is ours; None for a foreign one."""

    async def account(account_id: int) -> v.AccountFacts | None:
        """Facts of an account; None when there is none."""

    async def credentials(login: str) -> v.StoredCredentials | None:
        """What a login by this full address (or alias of an account) is checked against."""


class IAccountAdmin(Interface):
    """Add-on of a directory whose accounts can be administered here."""

    async def set_domains(domains: Sequence[v.DomainFacts]) -> None:
        """The domains of the configuration; accounts of a domain that left stay, unreachable."""

    async def add_account(
        address: v.Address, password_hash: str, secrets: Mapping[str, str] | None = None
    ) -> v.AccountFacts:
        """A new account with INBOX and the special-use mailboxes.  Raises Refused when the address is taken."""

    async def remove_account(account_id: int) -> None:
        """The account and all its mail, for good."""

    async def set_password(account_id: int, password_hash: str, secrets: Mapping[str, str] | None = None) -> None:
        """Replace the stored hash ("" forbids password logins), and all secrets by these, in one commit."""

    async def refresh(account_id: int, was: str, password_hash: str, secrets: Mapping[str, str]) -> bool:
        """The same password kept in another way: as `set_password`, but only if the stored hash is still `was`.

        True when it was; a password changed meanwhile stays."""

    async def set_keep(account_id: int, keep: frozenset[str] | None) -> None:
        """Kinds of secrets this account wants (None: those of the site); others that it has are forgotten."""

    async def set_limits(
        account_id: int, *, quota: int | None = None, max_in: int | None = None, max_out: int | None = None
    ) -> None:
        """Replace all three limits of `AccountFacts` (S-120)."""

    async def set_denied(account_id: int, denied: frozenset[str]) -> None:
        """Protocols and virtual servers that the account may not use (S-104)."""

    async def set_enabled(account_id: int, enabled: bool) -> None:
        """A disabled account gets mail but cannot log in."""

    async def accounts() -> Sequence[v.AccountFacts]:
        """All accounts, ordered by domain and local part."""

    async def add_alias(address: v.Address, targets: Sequence[v.Address]) -> None:
        """Mail for `address` goes to `targets`.  Replaces an alias of that name; Refused for an account's."""

    async def remove_alias(address: v.Address) -> None:
        """Raises NoSuchRecipient."""

    async def aliases() -> Sequence[tuple[v.Address, tuple[v.Address, ...]]]:
        """All aliases in order."""


class IQuota(Interface):
    """Add-on of a store that counts what accounts hold."""

    async def usage(account_id: int) -> tuple[int, int]:
        """Octets and messages an account holds now.  Raises AccessDenied when there is none."""


class IAppPasswords(Interface):
    """Add-on of a directory: passwords for single programs, found in `StoredCredentials.app_passwords`."""

    async def app_passwords(account_id: int) -> Sequence[v.AppPassword]:
        """In the order they were made.  Raises NoSuchRecipient."""

    async def add_app_password(account_id: int, name: str, digest: str, scopes: frozenset[str]) -> v.AppPassword:
        """Raises NoSuchRecipient; Refused when the account has one of that name, or 100 already."""

    async def remove_app_password(account_id: int, name: str) -> None:
        """Raises NoSuchRecipient for no such account, Refused when it has none of that name."""


class IMessageStore(Interface):
    """A message store (RFC 5598 MS): mailboxes, and the one durable commit of a delivery."""

    directory = Attribute("its IDirectory (and IAccountAdmin where accounts live here)")

    async def account(account_id: int) -> IAccount:
        """The mailboxes of one account.  Raises AccessDenied when there is none."""

    async def deliver(delivery: v.NewDelivery) -> None:
        """Content once, a row for each placement, in one commit; returns when all of it is durable.

        Concurrent calls share a commit.  A placement whose mailbox is gone goes to INBOX; one whose account
        is gone is left out.  Raises StoreFull, StoreUnavailable; then nothing was kept that was acknowledged."""

    async def close() -> None:
        """Finish what is queued, let go of files.  Idempotent."""


class IStoreMaintenance(Interface):
    """Add-on of a store whose files can be looked after while it is open."""

    async def check() -> Sequence[str]:
        """What does not fit together, one line each; empty when all is well.  Changes nothing."""

    async def compact() -> int:
        """Give back the room of expunged content now; the octets freed."""

    async def backup(job: Any) -> Any:
        """Copy all of the store and `job.extra` into `job.folder` while it is in use (`store.backup`); the Manifest."""


class IAccount(Interface):
    """The mailboxes of one account.  Names are NFC text with "/" between levels; INBOX is always there."""

    account_id = Attribute("int")

    async def mailboxes() -> Sequence[v.MailboxInfo]:
        """All that exist and all subscribed names, ordered by name."""

    async def about(name: str) -> tuple[v.MailboxInfo | None, bool]:
        """What `mailboxes` tells of one name, None for nothing; and whether there are mailboxes below it."""

    async def status(name: str) -> v.MailboxState:
        """Counters without opening.  Raises NoSuchMailbox."""

    async def open(name: str) -> IMailbox:
        """A handle on the mailbox; the caller releases it.  Raises NoSuchMailbox."""

    async def create(name: str, special_use: bytes | None = None) -> v.MailboxInfo:
        """Missing parents are created too.  Raises MailboxExists, BadMailboxName."""

    async def delete(name: str) -> None:
        """With its messages; children stay.  Raises NoSuchMailbox, BadMailboxName for INBOX."""

    async def rename(old: str, new: str) -> None:
        """With children, UIDs and UIDVALIDITY kept; INBOX: its messages move to a new mailbox (RFC 9051
        section 6.3.6).  Raises NoSuchMailbox, MailboxExists, BadMailboxName."""

    async def subscribe(name: str, on: bool) -> None:
        """Any name may be subscribed, also one that does not exist (RFC 9051 section 6.3.7)."""


class IMailbox(Interface):
    """One open mailbox.  It speaks of UIDs and MODSEQ only; sequence numbers belong to a session's view.

    Every change of a mailbox takes the next MODSEQ; a UID is visible in ascending order only.  When the mailbox is
    deleted its watchers are called; then whatever is not for reading messages raises NoSuchMailbox.
    """

    mailbox_id = Attribute("int, unique in the store, never reused")
    uidvalidity = Attribute("int")

    def columns() -> v.Columns:
        """The shared live columns (see `Columns`)."""

    async def state() -> v.MailboxState:
        """Counters now; `highest_modseq` is at least 1 (RFC 7162 section 7)."""

    async def changes(since: int) -> v.Changes:
        """All that changed after the MODSEQ `since` (0: all rows)."""

    async def claim_recent(claim: bool) -> int:
        """The lowest UID that is recent to the asker (RFC 3501 section 2.3.2); with `claim` nobody else will
        be told so again.  Need not be durable."""

    async def append(messages: Sequence[v.NewMessage], instead: tuple[int, int] | None = None) -> v.Appended:
        """All or none, durable.  `instead` (mailbox id, UID): that message is expunged in the same commit.  Raises
        StoreFull, QuotaExceeded, NoSuchMailbox (deleted meanwhile), Refused (what `instead` names is gone)."""

    async def update(uids: UidSet, change: v.FlagChange, unchanged_since: int | None = None) -> v.Updated:
        """Change flags, durable.  Unknown UIDs are ignored; a row that would not change keeps its MODSEQ.
        The result holds every row addressed that exists, refused ones too.  Raises Refused (a flag that cannot be)."""

    async def expunge(uids: UidSet, whole: bool = False) -> UidSet:
        """Remove for good, durable; gives what was there.  Other handles can still read the content until
        they are released.  `whole`: all or none of them, even if the process dies meanwhile."""

    async def copy(uids: UidSet, target_id: int, move: bool = False) -> v.Copied:
        """Into another (or the same) mailbox with flags, keywords and dates; `move` also expunges here, in
        the same commit.  Raises NoSuchMailbox (the target), StoreFull."""

    async def facts(uids: Sequence[int], wanted: frozenset[str]) -> Sequence[v.MessageFacts | None]:
        """In the order asked; None for one that is gone.  `wanted` of {"size", "dates", "ids", "summary", "head"}."""

    async def sizes(uids: Sequence[int]) -> Sequence[int]:
        """RFC822.SIZE in the order asked, -1 for one that is gone: what a POP3 login asks of a whole maildrop."""

    async def peculiar() -> v.Peculiar:
        """What POP3 must know of some of the messages; most mailboxes have none of these."""

    async def keep_summaries(summaries: Sequence[tuple[int, bytes]], kind: str = "summary") -> None:
        """Keep records made from the content: of kind "summary" or "head", or of a rendering of it (any other name, at
        most 100 ASCII characters).  They may be forgotten: no need to be durable."""

    async def records(uids: Sequence[int], kind: str) -> Sequence[bytes | None]:
        """What was kept of one kind, in the order asked."""

    async def at_hand(uids: Sequence[int], names: Sequence[str]) -> Sequence[Sequence[Any]] | None:
        """A column of each of "size", "date", "zone", "saved", "summary", "head", in the order of the ascending UIDs;
        None when anything of it is not kept or cannot be told at once: ask `facts`."""

    async def contents(uids: Sequence[int]) -> Sequence[IContent | None]:
        """In the order asked; None for one that is gone."""

    async def search(query: Query) -> UidSet | None:
        """What matches, or None: evaluate it yourself.  Holds no Numbers, UidNumbers or Recent nodes."""

    def watch(watcher: Callable[[], Any]) -> Callable[[], None]:
        """Call `watcher()` in the reactor thread after every change by anybody; gives the way to stop it."""

    def release() -> None:
        """This handle is done; idempotent.  Nothing else may be called on it."""
