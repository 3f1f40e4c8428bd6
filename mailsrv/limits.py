"""Limits of one virtual server (floor 0): every buffer, loop and wait names its limit here.

`None` is unlimited.  Sizes are octets, durations seconds.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Limits:
    """What one virtual server allows; a session receives it from its server."""

    #: Simultaneous connections of the server (S-057, S-058), and of one address.
    connections: int | None = None
    connections_per_address: int | None = None
    #: An idle connection is closed after this (S-060), an unauthenticated one after `login_timeout`.
    idle_timeout: float | None = 1800.0
    login_timeout: float | None = 60.0
    #: SMTP: whole message (S-117), all messages of a connection (S-121), recipients (S-123), hops (S-080).
    message_octets: int | None = 50 * 2**20
    session_octets: int | None = None
    recipients: int | None = 1000
    hops: int = 30
    #: SMTP: a message must be there within `data_timeout`, or come in at `data_rate` octets a second on the whole
    #: (RFC 5321 section 4.5.3.2.5 speaks of blocks; who trickles octets keeps to that for ever).
    data_timeout: float | None = 600.0
    data_rate: int = 256
    #: Header block of a message: octets and fields.
    header_octets: int = 256 * 2**10
    header_fields: int = 2000
    #: A message body is held in memory up to this size, then in a spool file.
    memory_octets: int = 256 * 2**10
    #: SMTP command line with CRLF (RFC 5321 section 4.5.3.1.4; 4096 leaves room for AUTH and SMTPUTF8),
    #: and a line of message text with CRLF.  QUIRK: RFC 5321 section 4.5.3.1.6 says 1000, mailing systems that
    #: send unwrapped HTML go above; a longer line is consumed with its message, then refused.
    command_octets: int = 4096
    text_line_octets: int = 8192
    #: IMAP: one command without its streamed APPEND literals, before and after login; and nesting depth.
    imap_command_octets_before_login: int = 8 * 2**10
    imap_command_octets: int = 256 * 2**10
    imap_literal_octets_before_login: int = 4 * 2**10
    imap_depth: int = 16
    #: IMAP: literals that come unasked (RFC 7888); with a limit LITERAL- is offered instead of LITERAL+.
    imap_unasked_octets: int | None = None
    #: IMAP APPEND of one message, and messages in one MULTIAPPEND.
    append_octets: int | None = 50 * 2**20
    append_messages: int = 10_000
    #: Commands that make no sense, then the connection is closed; failed logins likewise.
    bad_commands: int = 20
    failed_logins: int = 3
    #: SMTP: commands that bring no message (NOOP, RSET, EHLO, VRFY) in a row, then the connection is closed.  More than
    #: the answers that the buffers of a socket hold: who reads none is held up by those first.
    idle_commands: int = 1_000_000
    #: A refused login is answered after this many seconds (0: at once).
    failed_login_delay: float = 2.0
    #: Input held while a command is being worked on; then the peer is made to wait.
    pending_octets: int = 128 * 2**10
    #: Output waiting for a slow peer; then the session waits.
    output_octets: int = 128 * 2**10
