"""Every option of the configuration: its key, kind, default and help text (floor 4).

The tree mirrors `mailsrv.toml`.  A key exists here only when code reads it; names that are known but not built
stand in `unbuilt.py`.  Defaults are those of the profile `default` (decisions 29).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, field, frozen

from ...access.entries import Entry
from ...access.senders import Options as FilterTable
from ...errors import ConfigError
from ...parts import DURATION, FLAG, SIZE, TEXT, TEXTS, choice, option, or_off, whole
from ...serve.pop3_uidl import DEFAULT as UIDL_DEFAULT
from ...serve.pop3_uidl import UidlFormat
from .certificates import CertificateTable
from .control import ControlTable
from .delivery import DeliveryTable
from .formats import FormatTable, Pop3FormatTable
from .metrics import MetricsTable
from .operations import RUN_AS, LogTable, TraceTable
from .permissions import USERS, RoleTable
from .routes import RouteTable
from .service import STARTUP, ServiceTable
from .values import BINDINGS, DOMAINS, HOSTNAME, NETWORKS, PATH, UIDL_FORMAT, Binding, binding, or_empty, subset

_MANY = 1_000_000_000


def derived(default: Any) -> Any:
    """A field that is no key: filled in by the loader."""
    return field(default=default, metadata={"derived": True})


def _bindings(*texts: str) -> tuple[Binding, ...]:
    """Bindings from their text."""
    return tuple(binding(text) for text in texts)


@frozen
class SiteTable:
    """[site]"""

    hostname: str = option(or_empty(HOSTNAME), "", "FQDN of the servers; default: the machine's own name (S-087)")
    domains: tuple[str, ...] = option(DOMAINS, (), "local mail domains (S-009); default: the host name")
    data: str = option(PATH, "data", "folder of store, spool and keys, relative to this file")
    control: str = option(or_empty(PATH), "", "socket of administration; default: control.sock in data")
    run_as: str = option(RUN_AS, "", "user[:group] to become once ports are bound, when started as root; default: stay")
    drain_time: float = option(
        DURATION, 30.0, "a stop waits so long for commands and deliveries under way; a second signal ends at once"
    )
    control_group: str = option(TEXT, "", "UNIX group that may open it too, for members of roles; default: nobody else")
    audit_size: int = option(SIZE, 100 * 2**20, "octets of the audit log in all; its oldest tenth makes room")


@frozen
class DomainTable:
    """[domain."example.org"]: what differs for one of the local domains."""

    kind: str = option(
        choice("local", "shared", "relay"), "local",
        "local: all its recipients are here; shared: unknown ones go on to forward_unresolved of the server (S-133); "
        "relay: another host has the mailboxes",
    )
    verify: str = option(
        choice("off", "list", "callout"), "off",
        "kind relay: which recipients are taken: off: every one, what nobody has comes back; list: those of "
        "recipients_file; callout: the host that has the mailboxes is asked",
    )
    recipients_file: str = option(or_empty(PATH), "", "a recipient in each line; read again when it has changed")
    subaddress: str = option(TEXT, "+", 'what separates a subaddress from the account\'s name; "" for none')
    catch_all: str = option(TEXT, "", "address that gets mail for unknown recipients of the domain")
    netbios: str = option(
        TEXT, "", 'what stands for the domain in login names such as "CORP\\bob"; default: its first label'
    )


@frozen
class LimitsTable:
    """[limits]: for the whole site."""

    append_limit: int | None = option(or_off(SIZE), 50 * 2**20, "largest message of an IMAP APPEND")
    quota: int | None = option(or_off(SIZE), None, "octets of all messages of an account, unless it has its own")
    quota_messages: int | None = option(or_off(whole(1, _MANY)), None, "messages of an account")
    quota_mailboxes: int | None = option(
        or_off(whole(10, _MANY)), 10_000, "mailboxes of an account: a user can make no more"
    )
    max_message_in: int | None = option(or_off(SIZE), None, "one message for an account, unless it has its own (S-120)")
    max_message_out: int | None = option(or_off(SIZE), None, "one message from an account, unless it has its own")
    failed_logins_per_address: int | None = option(
        or_off(whole(1, _MANY)), 30, "wrong guesses from one address in the window, then it is banned for a while"
    )
    failed_logins_per_account: int | None = option(
        or_off(whole(1, _MANY)), 50, "wrong guesses at one account; then addresses it is not used from have to wait"
    )
    failed_login_window: float = option(DURATION, 600.0, "how long a wrong guess counts")
    ban_time: float = option(DURATION, 900.0, "the first ban; each further one of a day is twice as long")
    never_banned: tuple[str, ...] = option(
        NETWORKS, (), 'addresses and networks that are never banned, for example a webmail host: ["192.0.2.7"]'
    )


@frozen
class AccessTable:
    """[access.NAME]: a list that servers name, as `access` or as `relay`.  `entries` are those of `list`."""

    mode: str = option(
        choice("only", "except"), "except",
        "only: the list is granted, others are denied (S-035, S-138); except: the list is denied (S-036, S-139)",
    )
    list: tuple[str, ...] = option(
        TEXTS, (), 'computers, groups and domains (S-037): ["192.0.2.7", "10.0.0.0/8", "eng.example.com"]'
    )
    entries: tuple[Entry, ...] = derived(())


@frozen
class PartChoice:
    """A table that names a part: [store], [auth.NAME], [policy.NAME].

    `name` is the table's, `use` the part's; `options` what the part's class of options made of the other keys.
    """

    name: str
    use: str
    options: Any = None


@frozen
class PolicyTable:
    """Keys of every [policy.NAME], besides those of its part."""

    timeout: float | str = option(or_empty(DURATION), "", "one answer; later, it has failed; default: its own, 30s")
    on_failure: str = option(
        or_empty(choice("tempfail", "open")), "",
        "what a failure means: tempfail: mail comes later; open: as if it had accepted; default: what the policy says",
    )


@frozen
class PolicyChoice(PartChoice):
    """A [policy.NAME]; `common` are the keys that every such table has."""

    common: PolicyTable = PolicyTable()


@frozen(kw_only=True)
class ServerOptions:
    """What every virtual server has; `id` is "smtp/default"."""

    id: str = derived("")
    title: str = option(TEXT, "", "what people call this server")
    startup: str = option(
        or_empty(STARTUP), "", "manual: stopped until started by hand (S-013); default: what [service.PROTOCOL] says"
    )
    hostname: str = option(or_empty(HOSTNAME), "", "FQDN of this server (S-088); default: the site's")
    login_domain: str = option(or_empty(HOSTNAME), "", "completes login names without a domain (S-106)")
    certificate: str = option(TEXT, "default", "which [tls.NAME] it shows (S-050)")
    certificates: tuple[str, ...] = option(TEXTS, (), "further ones, for clients that ask for a host named there")
    require_tls: bool = option(FLAG, False, "nothing but TLS negotiation before TLS (S-053)")
    require_strong_tls: bool = option(FLAG, False, "with require_tls: authenticated encryption (AEAD) alone (S-054)")
    login_without_tls: bool = option(FLAG, False, "allow passwords in clear text without TLS")
    ntlm_v1: bool = option(FLAG, False, "take NTLMv1 too: most Unix clients speak nothing newer, and it is weak")
    users: tuple[str, ...] = option(
        USERS, ("*",),
        'who may log in here (S-104): "*", "@example.org", "bob@example.org"; "!" takes away; the last match holds',
    )
    access: str = option(TEXT, "", "which [access.NAME] says who may connect (S-034); default: everybody")
    max_connections: int | None = option(or_off(whole(1, _MANY)), None, "simultaneous connections (S-057)")
    max_connections_per_address: int | None = option(or_off(whole(1, _MANY)), None, "of one client address")
    idle_timeout: float | None = option(or_off(DURATION), 1800.0, "an idle connection is closed after this (S-060)")
    login_timeout: float | None = option(or_off(DURATION), 60.0, "so is one without a login, where login is required")
    failed_login_delay: float | None = option(or_off(DURATION), 2.0, "a refused login is answered after this")
    trusted_proxies: tuple[str, ...] = option(
        NETWORKS, (), "proxies: a connection from there begins with a PROXY header (v1 or v2), or is closed"
    )

    @property
    def protocol(self) -> str:
        """smtp, imap or pop3."""
        return self.id.partition("/")[0]


_LOGIN = subset("basic", "ntlm", "sasl")
_METHODS = "basic: user name and password; ntlm: integrated Windows authentication; sasl: all other mechanisms"


_WHO = choice("off", "authenticated", "on")
#: Defaults by role.  LMTP asks nobody who he is, so that only this machine is let in.
_LISTEN = {"relay": ("*:25",), "submission": ("*:587", "*:465/tls"), "lmtp": ("127.0.0.1:24",)}
_AUTHENTICATION = {
    "relay": frozenset({"anonymous", "basic", "sasl"}),
    "submission": frozenset({"basic", "sasl"}),
    "lmtp": frozenset({"anonymous"}),
}


@frozen(kw_only=True)
class SmtpOptions(ServerOptions):
    """[smtp.NAME]"""

    role: str = option(
        choice("relay", "submission", "lmtp"), "relay",
        "relay: takes mail from everybody for the local domains; submission: login required; lmtp: delivery by LMTP",
    )
    listen: tuple[Binding, ...] = option(
        BINDINGS,
        Factory(lambda self: _bindings(*_LISTEN[self.role]), True),
        'ADDRESS:PORT, "*" for all addresses, "/tls" for TLS from the start (S-030); unix:PATH; or a Twisted endpoint',
    )
    authentication: frozenset[str] = option(
        subset("anonymous", "basic", "ntlm", "sasl"),
        Factory(lambda self: _AUTHENTICATION[self.role], True),
        f"anonymous: mail without login; {_METHODS} (S-098)",
    )
    relay_users: tuple[str, ...] = option(USERS, ("*",), "who of them may send to other domains (S-137), as in `users`")
    relay: str = option(
        TEXT, "", "which [access.NAME] says who may send to other domains without a login (S-138); default: nobody"
    )
    reverse_lookup: bool = option(
        FLAG, False, "look up the client's name; \"unverified\" in Received where HELO is not shown to be true (S-090)"
    )
    default_domain: str = option(or_empty(HOSTNAME), "", "completes addresses (S-011); default: the first domain")
    idle_timeout: float | None = option(or_off(DURATION), 600.0, "an idle connection is closed after this (S-060)")
    max_message_size: int | None = option(or_off(SIZE), 50 * 2**20, "one message (S-117)")
    max_session_size: int | None = option(or_off(SIZE), None, "all messages of a connection (S-121)")
    max_recipients: int | None = option(or_off(whole(1, _MANY)), 1000, "recipients of a message (S-123)")
    max_hops: int = option(whole(10, 256), 30, "Received lines of a message; more is a loop (S-080)")
    message_timeout: float | None = option(
        or_off(DURATION), 600.0, "a message must be there within this, or come at 256 octets a second"
    )
    bare_newlines: str = option(
        choice("refuse", "normalise"), "refuse", "a CR or LF alone in a message: refuse it, or make it CRLF"
    )
    vrfy: str = option(_WHO, "off", "whom VRFY tells whether an address exists: off, authenticated, on")
    expn: str = option(_WHO, "off", "whom EXPN tells the members of a list")
    dsn: str = option(
        _WHO, "on",
        "to whom reports of success are offered (RFC 3461); on: to strangers too, with bounds; a relay list is a login",
    )
    xclient_from: tuple[str, ...] = option(
        NETWORKS, (), "proxies and filters that may say whose connection it is by XCLIENT; they are believed"
    )
    etrn: str = option(
        choice("off", "relay", "on"), "relay",
        "who may have the mail that waits for a domain tried at once (RFC 1985): those who may relay, or everybody",
    )
    sender_filter: str = option(TEXT, "", "which [filter.NAME] says whose mail is not taken (S-045); default: none")
    sender_check: bool = option(
        FLAG, Factory(lambda self: self.role == "submission", True),
        "who has logged in sends with own addresses alone (reverse path, From, Sender); roles may grant send.as",
    )
    hide_client: bool = option(FLAG, False, "Received does not tell address and name of clients that logged in")
    received_user: bool = option(FLAG, False, "Received tells who logged in")
    policies: tuple[str, ...] = option(
        TEXTS, (), "message policies in order, each a [policy.NAME] or a part; the relay rule always holds"
    )
    #: The table [smtp.NAME.delivery].
    delivery: DeliveryTable = derived(DeliveryTable())


@frozen(kw_only=True)
class ImapOptions(ServerOptions):
    """[imap.NAME]"""

    listen: tuple[Binding, ...] = option(
        BINDINGS, _bindings("*:143", "*:993/tls"),
        'ADDRESS:PORT, "*" for all addresses, "/tls" for TLS from the start (S-030); unix:PATH; or a Twisted endpoint',
    )
    authentication: frozenset[str] = option(_LOGIN, frozenset({"basic", "sasl"}), _METHODS)
    public_account: str = option(
        TEXT, "", "address of the account whose mailboxes are the public folders (S-142); it grants rights on them"
    )
    public_folders: bool = option(FLAG, True, "a list of all folders has the public ones too (S-146, S-147)")
    fast_retrieval: bool = option(
        FLAG, False, "with a format: sizes are those stored, so that nothing has to be rendered for them (S-148)"
    )
    separator: str = option(
        choice("/", ".", "^"), "/",
        "what clients have between the levels of a mailbox's name; on the command line it is always /",
    )  # fmt: skip
    literal_minus: bool = option(
        FLAG, False, "LITERAL- instead of LITERAL+: what is larger than 4096 octets is not sent before it is asked for"
    )
    #: The table [imap.NAME.format].
    format: FormatTable = derived(FormatTable())


@frozen(kw_only=True)
class Pop3Options(ServerOptions):
    """[pop3.NAME]"""

    listen: tuple[Binding, ...] = option(
        BINDINGS, _bindings("*:110", "*:995/tls"),
        'ADDRESS:PORT, "*" for all addresses, "/tls" for TLS from the start (S-030); unix:PATH; or a Twisted endpoint',
    )
    authentication: frozenset[str] = option(_LOGIN, frozenset({"basic", "sasl"}), _METHODS)
    ntlm_ok: bool = option(FLAG, False, "answer AUTH NTLM with +OK, as Microsoft's clients want it; curl cannot then")
    apop: bool = option(FLAG, False, "offer APOP, where an authenticator keeps passwords themselves; MD5, and weak")
    maildrop_lock: bool = option(FLAG, True, "one session at a time has a maildrop (RFC 1939); false: several may")
    login_delay: float | None = option(
        or_off(DURATION), None, "an account may not log in again before this is over (LOGIN-DELAY)"
    )
    uidl_format: UidlFormat = option(
        UIDL_FORMAT, UidlFormat(UIDL_DEFAULT),
        "what UIDL shows: %u UID, %v UIDVALIDITY, %X hexadecimal; Dovecot: %08Xu%08Xv, Cyrus: %v.%u, Courier: UID%u-%v",
    )
    idle_timeout: float | None = option(or_off(DURATION), 600.0, "an idle connection is closed after this (S-060)")
    #: The table [pop3.NAME.format].
    format: Pop3FormatTable = derived(Pop3FormatTable())


#: Protocol -> the class of a [PROTOCOL.NAME] table, in the order servers are listed.
SERVER_TABLES: dict[str, type[ServerOptions]] = {"smtp": SmtpOptions, "imap": ImapOptions, "pop3": Pop3Options}
#: Protocol -> the name of the table inside such a table, and its class.
INNER_TABLES: dict[str, tuple[str, type]] = {
    "smtp": ("delivery", DeliveryTable), "imap": ("format", FormatTable), "pop3": ("format", Pop3FormatTable)
}


@frozen(kw_only=True)
class SiteOptions:
    """The whole configuration, checked and with every default filled in.

    `file` is the file it came from or None; `base` the folder its relative paths start from.  `services` has every
    protocol; `servers` is keyed "smtp/default"; `policies` holds every policy that a server names.  `given` are the
    dotted paths that the file sets; `warnings` were not raised.
    """

    site: SiteTable
    store: PartChoice
    authorizer: PartChoice = PartChoice("authorizer", "accounts")
    limits: LimitsTable = LimitsTable()
    domains: Mapping[str, DomainTable] = Factory(dict)
    authenticators: tuple[PartChoice, ...] = ()
    certificates: Mapping[str, CertificateTable] = Factory(dict)
    policies: Mapping[str, PolicyChoice] = Factory(dict)
    filters: Mapping[str, FilterTable] = Factory(dict)
    access: Mapping[str, AccessTable] = Factory(dict)
    roles: Mapping[str, RoleTable] = Factory(dict)
    routes: Mapping[str, RouteTable] = Factory(dict)
    services: Mapping[str, ServiceTable] = Factory(dict)
    metrics: MetricsTable = MetricsTable()
    remote: ControlTable = ControlTable()
    log: LogTable = LogTable()
    trace: TraceTable = TraceTable()
    servers: Mapping[str, ServerOptions] = Factory(dict)
    file: Path | None = field(default=None, eq=False)
    given: frozenset[tuple[str, ...]] = field(default=frozenset(), eq=False)
    warnings: tuple[ConfigError, ...] = field(default=(), eq=False)

    @property
    def base(self) -> Path:
        """The folder of the file, absolute."""
        return (self.file or Path("x")).absolute().parent

    @property
    def data(self) -> Path:
        """The data folder, absolute."""
        return self.base / self.site.data

    @property
    def control(self) -> Path:
        """The control socket, absolute."""
        return self.base / self.site.control if self.site.control else self.data / "control.sock"

    @property
    def makes_certificate(self) -> bool:
        """Nobody said where the default certificate is: the site makes its own when there is none."""
        return not any(path[:2] == ("tls", "default") for path in self.given)

    def of_protocol(self, protocol: str) -> Iterator[ServerOptions]:
        """The servers of one protocol, in the order of the file."""
        return (server for server in self.servers.values() if server.protocol == protocol)
