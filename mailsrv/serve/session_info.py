"""What administrators see of a session (floor 5; S-065)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .session import Session


class SessionInfo(NamedTuple):
    """One line of "Current Sessions"; a tuple, since thousands of them are made at a time.

    `id` is never given twice while the process lives.  `user` is whose credentials were shown, `acting_as` for whom
    if that is somebody else, `account` the account's id (0: nobody's).  `host` is the client's name by reverse look-up
    or a proxy's word, `helo` what it calls itself, "" where that is not known.  `tls` is a version as "TLSv1.3", "" in
    clear.  `state` and `verb` are the protocol's words.  Octets are those of the wire but for TLS; `since` is UTC epoch
    seconds, `age` and `idle` are seconds on a clock that nobody sets.
    """

    id: int
    server: str
    protocol: str
    peer: str
    port: int
    host: str
    helo: str
    user: str
    acting_as: str
    account: int
    mechanism: str
    secure: bool
    tls: str
    cipher: str
    state: str
    verb: str
    octets_in: int
    octets_out: int
    since: float
    age: float
    idle: float


def info_of(session: Session) -> SessionInfo:
    """A session as it is now; nothing was kept for this but what the last command was."""
    connection, identity = session.connection, session.identity
    peer, tls, now = connection.peer, connection.tls_facts(), connection.host.monotonic()
    return SessionInfo(
        id=session.number,
        server=session.services.name,
        protocol=session.services.protocol,
        peer=peer.host,
        port=peer.port,
        host=session.client_name,
        helo=session.helo,
        user="" if identity is None else identity.authcid,
        acting_as="" if identity is None or identity.authzid == identity.authcid else identity.authzid,
        account=0 if identity is None else identity.account_id,
        mechanism="" if identity is None else identity.mechanism,
        secure=connection.secure,
        tls="" if tls is None else tls.version,
        cipher="" if tls is None else tls.cipher,
        state=session.state(),
        verb=verb_of(session.verb),
        octets_in=connection.octets_in,
        octets_out=connection.octets_out,
        since=session.since,
        age=now - connection.connected_at,
        idle=now - connection.active_at,
    )


#: Events whose name is not the command's.
_VERBS = {"Hello": "EHLO", "Chunk": "BDAT", "Body": "DATA", "Wrong": "?", "Mistake": "?", "Mechanisms": "AUTH"}


def verb_of(last: str | type) -> str:
    """The command of an event's class, or the command itself; "?" for what was none."""
    return last if isinstance(last, str) else _VERBS.get(last.__name__) or last.__name__.upper()
