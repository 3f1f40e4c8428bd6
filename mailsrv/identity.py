"""Values of a login (floor 0): who is there, what was shown, what is kept.  `values` re-exports them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import field, frozen


@frozen
class TlsFacts:
    """What was negotiated.  `peer_certificate` is DER or None; `bindings` maps a channel-binding type
    (``"tls-exporter"``, ``"tls-server-end-point"``) to its octets (RFC 5929, RFC 9266)."""

    version: str
    cipher: str
    server_name: str | None = None
    peer_certificate: bytes | None = None
    bindings: Mapping[str, bytes] = field(factory=dict)


@frozen
class Peer:
    """The two ends of one connection.  Addresses are IP text; for a UNIX socket "" and 0.

    `unknown`: `host` is a proxy that has not said whose connection it is, so that it is nobody's to trust.
    """

    host: str
    port: int = 0
    local_host: str = ""
    local_port: int = 0
    tls: TlsFacts | None = None
    unknown: bool = False


@frozen
class Identity:
    """Who logged in; made by an authenticator alone and never changed.

    `account_id` owns the mailboxes (0: nobody's), `authcid` is whose credentials were shown, `authzid` who was asked
    for.  `scopes` are the only protocols that the credentials are good for ("smtp"; empty: all), `denied` the
    protocols and virtual servers that the account may not use ("pop3", "smtp/submission").
    """

    account_id: int
    authcid: str
    authzid: str = ""
    mechanism: str = ""
    scopes: frozenset[str] = frozenset()
    tenant_id: int = 0
    denied: frozenset[str] = frozenset()

    @property
    def anonymous(self) -> bool:
        """Nobody has shown who this is (RFC 4505)."""
        return not self.account_id and self.mechanism == "ANONYMOUS"


@frozen
class Secrets:
    """What a mechanism checks a proof against, of one kind: "scram-sha-1", "scram-sha-256", "cram-md5", "ntlm".

    `login` is the canonical name of the account it belongs to; `keys` the encoded text that is kept, in the form that
    `keep` of the mechanism's module makes: `mailsrv.wire.sasl.scram_keys`, `mailsrv.wire.sasl.cram_md5`,
    `mailsrv.wire.ntlm.crypto`."""

    kind: str
    login: str
    keys: str = field(repr=False)


@frozen
class Credentials:
    """What a mechanism learnt.  `scheme` is one of

    password      `username`, `password`
    secret        `username`, and the `secrets` that the authenticator gave: the client has proved to know them
    token         `token` (RFC 6750), `username` may be ""
    certificate   `certificate` (DER); `username` is "" or who the client says it is
    response      `username` (perhaps ``DOMAIN\\user``), `challenge` and `response` of NTLM
    anonymous     `username` is a trace (RFC 4505)
    """

    scheme: str
    username: str
    password: str = field(default="", repr=False)
    authzid: str = ""
    secrets: Secrets | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    challenge: bytes = field(default=b"", repr=False)
    response: bytes = field(default=b"", repr=False)


def _no_decoy(octets: bytes) -> bytes:
    """A site gives a keyed one."""
    return bytes(32)


@frozen
class AuthContext:
    """Where a login happens: all that a mechanism or authenticator may ask for.

    `service` is "smtp", "imap" or "pop3"; `server` the virtual server's name; `random(n)` gives n octets,
    `now()` UTC epoch seconds.  `domains` maps the DOMAIN of ``DOMAIN\\user``, in lower case, to a local domain ("":
    several could be meant).  `decoy(octets)` gives 32 octets that are always the same for the same octets and that
    nobody can foretell.  `peer.tls` is filled for mechanisms that say so (`channel`).
    """

    service: str
    server: str
    peer: Peer
    hostname: str = "localhost"
    login_domain: str = ""
    random: Callable[[int], bytes] = field(default=bytes, repr=False)
    now: Callable[[], float] = field(default=float, repr=False)
    domains: Mapping[str, str] = field(factory=dict, repr=False)
    decoy: Callable[[bytes], bytes] = field(default=_no_decoy, repr=False)


# ---------------------------------------------------------------- what a mechanism yields


@frozen
class Challenge:
    """A mechanism asks the client: octets before base64.  Resumed with the client's octets."""

    octets: bytes


@frozen
class NeedSecrets:
    """A mechanism asks what is kept for a login; it is resumed with Secrets, or None for nothing."""

    kind: str
    username: str


@frozen
class Verify:
    """A mechanism asks for `credentials` to be checked; it is resumed with the Identity."""

    credentials: Credentials


# ---------------------------------------------------------------- the client side


@frozen
class ClientContext:
    """With what a client logs in at another server.  `service` and `hostname` are that server's; `domain` is the
    Windows domain of NTLM; `bindings` as in TlsFacts, empty without TLS."""

    username: str
    password: str = field(default="", repr=False)
    authzid: str = ""
    token: str = field(default="", repr=False)
    service: str = "smtp"
    hostname: str = ""
    port: int = 0
    domain: str = ""
    bindings: Mapping[str, bytes] = field(factory=dict, repr=False)
    random: Callable[[int], bytes] = field(default=bytes, repr=False)
    now: Callable[[], float] = field(default=float, repr=False)


@frozen
class Respond:
    """What the client sends: octets before base64, None for no initial response.

    `final`: the server has said all that it must, so its "success" may be believed; before that it is an impostor's.
    """

    octets: bytes | None = field(repr=False)
    final: bool = True


# ---------------------------------------------------------------- what is kept


@frozen
class AppPassword:
    """A password made by the server for one program.  `digest` is what is kept of it; `scopes` as in Identity."""

    id: int
    name: str
    digest: str = field(repr=False)
    scopes: frozenset[str] = frozenset()
    created_at: float = 0.0


@frozen
class StoredCredentials:
    """What is kept to check a login of an account.

    `password_hash` is an argon2 encoded string or "" (no password login); `secrets` maps a kind to encoded text;
    `keep` are the kinds that this account wants (None: those of the site); `denied` as in Identity.
    """

    account_id: int
    tenant_id: int
    enabled: bool
    login: str
    password_hash: str = field(default="", repr=False)
    secrets: Mapping[str, str] = field(factory=dict, repr=False)
    app_passwords: tuple[AppPassword, ...] = ()
    keep: frozenset[str] | None = None
    denied: frozenset[str] = frozenset()
