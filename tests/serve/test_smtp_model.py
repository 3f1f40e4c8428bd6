"""Random conversations with BDAT and DATA against a model of RFC 5321 and RFC 3030: every command has its one answer,
octets of a message are never commands, and what is delivered is what was sent."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_smtp import failures, stored

from mailsrv.testing.bed import Bed
from tests.properties import tries

__all__ = ["failures"]

#: What looks like commands and ends of messages, and is text in a chunk.
TEXT = st.lists(
    st.sampled_from([b"RSET\r\n", b".\r\n", b"BDAT 3 LAST\r\n", b"\r\n", b"a", b"..\r\n", b"QUIT\r\n"]), max_size=5
)
WORDS_ALONE = ["nobody", "RSET", "NOOP", "HELO", "XCLIENT", "ETRN"]
STEPS = st.lists(
    st.one_of(
        st.sampled_from(["MAIL"] * 2 + ["RCPT"] * 2 + WORDS_ALONE).map(lambda word: (word, b"")),
        st.tuples(st.sampled_from(["BDAT", "LAST", "LAST"]), TEXT.map(b"".join)),
        TEXT.map(lambda text: ("BDAT", b"".join(text) + b"\0")),
        TEXT.map(lambda lines: ("DATA", b"".join(line for line in lines if line.endswith(b"\n")))),
    ),
    min_size=3,
    max_size=25,
)
WORDS = {
    "MAIL": b"MAIL FROM:<a@b.example>", "RCPT": b"RCPT TO:<me@example.org>", "nobody": b"RCPT TO:<nobody@example.org>",
    "RSET": b"RSET", "NOOP": b"NOOP", "HELO": b"HELO c.example", "DATA": b"DATA", "ETRN": b"ETRN example.org",
    "XCLIENT": b"XCLIENT ADDR=192.0.2.1 HELO=c.example",
}  # fmt: skip


class Model:
    """What must be answered."""

    def __init__(self) -> None:
        self.delivered: list[bytes] = []
        self.failed = False
        self.reset()

    def reset(self) -> None:
        self.open, self.taken, self.text = False, 0, None

    def step(self, word: str, text: bytes) -> str:
        """The code of the answer."""
        if word in ("RSET", "HELO"):
            self.reset()
            self.failed = False
        elif word in ("XCLIENT", "ETRN"):
            if self.open:
                return "503"
            # The one begins anew; the other is about a domain whose mailboxes are here.
            self.failed = self.failed and word == "ETRN"
            return "220" if word == "XCLIENT" else "459"
        elif word == "MAIL":
            if self.open:
                return "503"
            self.open, self.failed = True, False
        elif word in ("RCPT", "nobody"):
            if not self.open or self.text is not None:
                return "503"
            if word == "nobody":
                return "550"
            self.taken += 1
        elif word == "DATA":
            if not self.open or self.text is not None:
                return "503"
            return "354" if self.taken else "554"
        elif word in ("BDAT", "LAST"):
            return self.chunk(text, word == "LAST")
        return "250"

    def chunk(self, text: bytes, last: bool) -> str:
        if self.failed or not self.open or not self.taken:
            return "503"
        self.text = (self.text or b"") + text
        if b"\0" in text:
            self.reset()
            self.failed = True
            return "550"
        if last:
            self.whole(self.text)
        return "250"

    def whole(self, text: bytes) -> None:
        self.delivered.append(text + (b"" if text.endswith(b"\r\n") or not text else b"\r\n"))
        self.reset()


def octets_of(word: str, text: bytes) -> bytes:
    if word in WORDS:
        return WORDS[word] + b"\r\n"
    return b"BDAT %d%s\r\n%s" % (len(text), b" LAST" if word == "LAST" else b"", text)


@given(STEPS, st.integers(1, 40))
@settings(max_examples=tries(80), deadline=None)
def test_every_command_has_its_answer_and_every_message_its_octets(
    steps: list[tuple[str, bytes]], size: int
) -> None:
    bed = Bed(xclient_from="192.0.2.1", etrn="on")
    bed.limit(bad_commands=10_000)
    client, model = bed.connect("smtp"), Model()
    client.take()

    def say(octets: bytes) -> list[str]:
        for at in range(0, len(octets), size):
            client.send(octets[at : at + size])
        bed.settle()
        return [line[:3] for line in client.take().decode().splitlines()]

    assert say(b"HELO c.example\r\n") == ["250"]
    sent, wanted = b"", []
    for word, text in [*steps, ("NOOP", b"")]:
        code = model.step(word, text)
        if word != "DATA":
            sent, wanted = sent + octets_of(word, text), [*wanted, code]
            continue
        # What follows a DATA is not sent before its answer: else it would be a message.
        assert say(sent) == wanted
        assert say(b"DATA\r\n") == [code]
        sent, wanted = b"", []
        if code == "354":
            model.whole(text)
            assert say((b"\r\n" + text).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n") == ["250"]
    assert say(sent) == wanted and not client.closed
    kept = [message.partition(b"+0000\r\n")[2] for message in stored(bed)]
    assert kept == model.delivered


def test_the_model_knows_what_it_is_for(failures: list[Any]) -> None:
    model = Model()
    steps = (("MAIL", b""), ("RCPT", b""), ("BDAT", b"QUIT\r\n"), ("LAST", b"x"))
    assert [model.step(*step) for step in steps] == ["250"] * 4
    assert model.delivered == [b"QUIT\r\nx\r\n"]
