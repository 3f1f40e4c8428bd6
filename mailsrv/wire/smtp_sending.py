"""One message over one connection (floor 2): MAIL, RCPT, DATA or BDAT, and what became of each recipient.

RFC 5321 sections 3.3 and 4.5.3, RFC 2920 (PIPELINING), 1870 (SIZE), 6152 (8BITMIME), 6531 (SMTPUTF8), 3461 (DSN), 3030
(BINARYMIME), 2033 (LMTP).  No recipient is delivered without a positive answer to the whole message, and none has
failed because the connection did.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from attrs import field, frozen

from ..errors import MailError, Refused
from ..values import Address, Outcome, Recipient, Reply
from .smtp_client import COMMAND, DATA, DOT, Body, Sending, SmtpClient, Talk, Wish
from .smtp_features import needs_utf8, parameters, print_mail, print_path, print_rcpt
from .smtp_replies_reader import PeerLost, status_of, words

#: Commands that are said in one piece to a server that takes them so; the next piece waits for its answers.
GROUP = 1000
#: When something happened.
AT_END = "after the message"


@frozen
class Mail:
    """A message to be sent.  `parameters` are MAIL's as they were given to us (RET, ENVID); `size` octets; `body` 7BIT,
    8BITMIME or BINARYMIME, what the content is; `utf8`: its header has characters beyond ASCII that it means to have.
    """

    reverse_path: Address | None
    recipients: tuple[Recipient, ...]
    size: int = 0
    body: str = "7BIT"
    utf8: bool = False
    parameters: Mapping[str, str] = field(factory=dict)


def send(client: SmtpClient, mail: Mail, host: str = "") -> Sending:
    """The dialogue: ends with an outcome for each recipient, in order; never raises.

    The server must offer what `mail.body` needs.  `client.over` and `client.doubt` tell of the connection.
    """
    return _Transaction(client, mail, host).run()


class _Transaction:
    """The state of one."""

    def __init__(self, client: SmtpClient, mail: Mail, host: str) -> None:
        self._client, self._mail, self._host = client, mail, host
        self._outcomes: list[Outcome | None] = [None] * len(mail.recipients)
        #: Indices of recipients that were written, and of those that the server accepted.
        self._written: list[int] = []
        self._accepted: list[int] = []
        self._utf8 = False
        #: Commands, how many of them were said, how many go at a time, and replies on their way.
        self._queue: list[bytes] = []
        self._at = self._outstanding = 0
        self._group = 1

    def run(self) -> Generator[Wish, Any, list[Outcome]]:
        """See `send`."""
        client = self._client
        client.doubt = False
        lines: list[bytes] = []
        try:
            lines = self._lines()
        except Refused as error:
            self._settle_rest("failed", error.status, error.text)
        try:
            if lines and self._written:
                yield from self._envelope(lines)
        except MailError as error:
            # The connection is in the middle of something, whatever it was that went wrong.
            client.over = True
            self._settle_rest("delayed", "4" + error.status[1:], error.text)
        return [outcome for outcome in self._outcomes if outcome is not None]

    # ------------------------------------------------------------ what is said

    def _lines(self) -> list[bytes]:
        """The commands.  Raises Refused for a message that this server cannot have."""
        mail, features = self._mail, self._client.features
        if 0 < features.size < mail.size:
            raise Refused(f"The message has {mail.size} octets, and the server takes {features.size}", "5.3.4")
        self._utf8 = "SMTPUTF8" in features and (
            mail.utf8 or needs_utf8(mail.reverse_path) or any(needs_utf8(one.address) for one in mail.recipients)
        )
        if not self._utf8 and (mail.utf8 or needs_utf8(mail.reverse_path)):
            raise Refused("The server does not take internationalised mail (SMTPUTF8)", "5.6.7")
        rcpts = self._rcpts()
        return [print_mail(self._reverse_path(), self._words()), *rcpts]

    def _reverse_path(self) -> str:
        try:
            return print_path(self._mail.reverse_path, self._utf8)
        except Refused as error:
            raise Refused(error.text, "5.1.7") from None

    def _words(self) -> list[str]:
        """MAIL's parameters."""
        mail, features = self._mail, self._client.features
        out = [f"SIZE={mail.size}"] if "SIZE" in features else []
        if (mail.body == "8BITMIME" and "8BITMIME" in features) or mail.body == "BINARYMIME":
            out.append("BODY=" + mail.body)
        if self._utf8:
            out.append("SMTPUTF8")
        if "DSN" in features:
            out += parameters(mail.parameters, ("RET", "ENVID"))
        return out

    def _rcpts(self) -> list[bytes]:
        lines = []
        for index, recipient in enumerate(self._mail.recipients):
            try:
                if not self._utf8 and needs_utf8(recipient.address):
                    raise Refused("The server does not take internationalised addresses (SMTPUTF8)", "5.6.7")
                lines.append(print_rcpt(recipient, self._client.features, self._utf8))
            except Refused as error:
                self._settle(index, "failed", error.status, error.text)
            else:
                self._written.append(index)
        return lines

    def _next(self, seconds: float = COMMAND) -> Generator[Wish, Any, Reply]:
        """The reply to the next command, said now or in one piece with others before (RFC 2920 section 3.1)."""
        octets = b""
        if not self._outstanding:
            group = self._queue[self._at : self._at + self._group]
            octets, self._outstanding = b"".join(group), len(group)
            self._at += len(group)
        command = self._queue[self._at - self._outstanding]
        self._outstanding -= 1
        return self._client.hear(octets, seconds, command=command)

    # ------------------------------------------------------------ the dialogue

    def _envelope(self, lines: list[bytes]) -> Talk:
        client, binary = self._client, self._mail.body == "BINARYMIME"
        self._group = GROUP if "PIPELINING" in client.features else 1
        # BDAT brings the message along, wanted or not, so it is in no group.
        self._queue = [*lines] if binary else [*lines, b"DATA\r\n"]
        if client.dirty:
            self._queue.insert(0, b"RSET\r\n")
            reply = yield from self._next()
            if reply.code // 100 != 2:
                raise client.wrong(reply)
        client.dirty = True
        reply = yield from self._next()
        if reply.code // 100 == 2:
            yield from self._recipients()
        else:
            self._refuse(reply, self._written)
            # What was said already is answered too; a DATA among it below.
            began = not binary and self._at == len(self._queue)
            while self._outstanding > began:
                yield from self._next()
        if binary and self._accepted:
            yield from self._binary()
        elif self._accepted or self._outstanding:
            yield from self._data()

    def _recipients(self) -> Talk:
        for index in self._written:
            reply = yield from self._next()
            if reply.code // 100 == 2:
                self._accepted.append(index)
            elif reply.code == 552 and self._accepted and reply.status in ("", "5.5.3"):
                # RFC 5321 section 4.5.3.1.10: too many recipients at once, from servers of the time of RFC 821.
                self._settle(index, "delayed", "4.5.3", words(reply))
            else:
                self._refuse(reply, [index])

    def _data(self) -> Talk:
        reply = yield from self._next(DATA)
        if reply.code == 354:
            self._client.quiet()
            if self._accepted:
                yield from self._body()
                yield from self._verdict()
            else:
                # Refused one and all, and yet it waits for a message (RFC 2920 section 3.1): an empty one.
                yield from self._client.hear(b".\r\n", DOT, AT_END)
        elif reply.code // 100 in (4, 5):
            self._refuse(reply, self._accepted)
        else:
            raise self._client.wrong(reply)

    def _binary(self) -> Talk:
        # BDAT has no reply of its own before its octets: the line goes with them (RFC 3030 section 2).
        self._client.quiet()
        yield from self._body(raw=True)
        yield from self._verdict()

    def _body(self, raw: bool = False) -> Talk:
        try:
            yield Body(raw)
        except PeerLost as error:
            raise PeerLost(f"{error.text} in the middle of the message", error.status) from error

    def _verdict(self) -> Talk:
        """The answer to the message: one, in LMTP one for each recipient that was accepted (RFC 2033 section 4.2)."""
        client = self._client
        client.doubt = True
        groups = [[index] for index in self._accepted] if client.lmtp else [self._accepted]
        for group in groups:
            reply = yield from client.hear(b"", DOT, AT_END)
            if reply.code // 100 == 2:
                for index in group:
                    self._settle(index, self._success(index), status_of(reply), words(reply))
            else:
                self._refuse(reply, group)
        client.doubt = client.dirty = False
        client.sent += 1

    # ------------------------------------------------------------ what became of them

    def _success(self, index: int) -> str:
        wished = self._mail.recipients[index].parameters.get("NOTIFY", "").upper()
        return "relayed" if "SUCCESS" in wished and "DSN" not in self._client.features else "delivered"

    def _refuse(self, reply: Reply, indices: list[int]) -> None:
        kind = reply.code // 100
        if kind not in (4, 5):
            raise self._client.wrong(reply)
        action, status, text = "delayed" if kind == 4 else "failed", status_of(reply), words(reply)
        if reply.code == 530 and self._client.excuse:
            action, status, text = "delayed", "4" + status[1:], f"{text} ({self._client.excuse})"
        for index in indices:
            self._settle(index, action, status, text)

    def _settle(self, index: int, action: str, status: str, text: str) -> None:
        self._outcomes[index] = Outcome(self._mail.recipients[index], action, status, text, self._host)

    def _settle_rest(self, action: str, status: str, text: str) -> None:
        for index, outcome in enumerate(self._outcomes):
            if outcome is None:
                self._settle(index, action, status, text)
