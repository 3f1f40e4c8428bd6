"""Drives a dialogue of the SMTP client against a list of replies."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from mailsrv.errors import MailError
from mailsrv.wire.smtp_client import Ask, Body, SmtpClient
from mailsrv.wire.smtp_features import Features
from mailsrv.wire.smtp_replies_reader import PeerLost


class Drive:
    """`said` is what the client said and did; a reply is b"" where the server says nothing any more."""

    def __init__(self, client: SmtpClient, replies: Sequence[bytes]) -> None:
        self.client, self.replies = client, list(replies)
        self.said: list[Any] = []

    def run(self, talk: Generator[Any, Any, Any]) -> Any:
        step, argument = talk.send, None
        while True:
            try:
                wish = step(argument)
            except StopIteration as done:
                return done.value
            step, argument = talk.send, None
            try:
                argument = self._meet(wish)
            except MailError as error:
                step, argument = talk.throw, error

    def _meet(self, wish: Any) -> Any:
        if type(wish) is not Ask:
            self.said.append(wish)
            return None
        if wish.octets:
            self.said.append(wish.octets)
        reply = self.client.reader.next()
        if reply is None:
            if self.replies:
                self.client.reader.receive(self.replies.pop(0))
            reply = self.client.reader.next()
        if reply is None:
            raise PeerLost()
        return reply

    @property
    def bodies(self) -> int:
        return sum(type(one) is Body for one in self.said)


def client(*names: str, lmtp: bool = False, **values: str) -> SmtpClient:
    """A client whose server has said hello with these features."""
    made = SmtpClient(lmtp)
    made.features = Features("mx.example.org", {**{name: "" for name in names}, **values})
    return made
