"""Any two policies together: who gets the message is what the page says, and what is refused goes nowhere."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.access.policy import Policy
from mailsrv.testing.bed import Bed
from mailsrv.values import ACCEPT, Address, Verdict
from tests.properties import tries

ME, YOU = Address("me", "example.org"), Address("you", "example.org")
VERDICTS = {
    "accept": ACCEPT,
    "field": Verdict(fields=(b"X-Seen: 1\r\n",)),
    "reject": Verdict("reject"),
    "tempfail": Verdict("tempfail"),
    "discard": Verdict("discard"),
    "quarantine": Verdict("quarantine", mailbox="Held"),
    "redirect": Verdict("redirect", targets=(YOU,)),
}
REFUSED = ("reject", "tempfail")
MOMENTS = ("sender", "recipient", "data", "content")
SCRIPTS = st.fixed_dictionaries({
    moment: st.sampled_from(["accept", "accept", "accept", *VERDICTS]) for moment in MOMENTS
})  # fmt: skip
Places = set[tuple[str, str]]


class Said(Policy):
    """Says one word at each moment."""

    def __init__(self, script: dict[str, str]) -> None:
        self.script = script


def _moment(name: str) -> Any:
    async def method(self: Said, *about: Any) -> Verdict:
        return VERDICTS[self.script[name]]

    return method


for _name in MOMENTS:
    setattr(Said, f"on_{_name}", _moment(_name))


def together(moment: str, scripts: list[dict[str, str]]) -> str:
    """The word of all policies: the first that ends it, else the first that moves the mail."""
    kept = "accept"
    for script in scripts:
        word = script[moment]
        if word in (*REFUSED, "discard"):
            return word
        if kept == "accept" and word in ("quarantine", "redirect"):
            kept = word
    return kept


def moved(places: Places, word: str) -> Places:
    """Where a copy goes by a verdict."""
    if word == "redirect":
        return {("you", "INBOX")}
    return {(who, "Held") for who, _ in places} if word == "quarantine" else places


def expected(scripts: list[dict[str, str]]) -> tuple[str, Places]:
    """The code that ends the transaction, and where copies are."""
    sender, recipient, data, content = (together(moment, scripts) for moment in MOMENTS)
    if sender in REFUSED or recipient in REFUSED:
        return "5", set()
    if data in REFUSED:
        return "5" if data == "reject" else "4", set()
    whole = "discard" if "discard" in (sender, data) else sender if sender != "accept" else data
    if "discard" in (whole, recipient):
        return "2", set()
    if content in REFUSED:
        return "5" if content == "reject" else "4", set()
    if content == "discard":
        return "2", set()
    copies = [moved({(who, "INBOX")}, recipient) for who in ("me", "you")]
    last = content if content != "accept" else whole
    return "2", set().union(*(moved(copy, last) for copy in copies))


def found(bed: Bed) -> Places:
    async def look() -> Places:
        places = set()
        for who, number in bed.accounts.items():
            account = await bed.store.account(number)
            for info in await account.mailboxes():
                if (await account.status(info.name)).exists:
                    places.add((who, info.name))
        return places

    places: Places = bed.loop.run(look())
    return places


@given(st.lists(SCRIPTS, min_size=1, max_size=3))
@settings(max_examples=tries(120), deadline=None)
def test_who_gets_the_message(scripts: list[dict[str, str]]) -> None:
    bed = Bed(policies=[lambda script=script: Said(script) for script in scripts])
    client = bed.connect("smtp")
    client.send(b"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.org>\r\nRCPT TO:<you@example.org>\r\n")
    client.send(b"DATA\r\n")
    bed.settle()
    lines = client.take().split(b"\r\n")
    if lines[-2].startswith(b"354"):
        client.send(b"Subject: x\r\n\r\n.\r\n")
        bed.settle()
        lines = client.take().split(b"\r\n")
    code, places = expected(scripts)
    assert (lines[-2][:1].decode(), found(bed)) == (code, places)
