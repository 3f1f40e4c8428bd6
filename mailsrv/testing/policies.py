"""Policies of a bed, from words of its settings.

    parts         "senders:list=spam.example,<>;action=drop|helo:fqdn=true": asked after the relay rule
    verdicts      "content=quarantine|recipient:x@example.org=redirect:a@b.example": what a policy after those says at
                  sender, recipient, data or content, of one recipient or all; with ":" the mailbox or target
    submission    "complete,hide_client,show_user": the flags of `Submission` that are on
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from attrs import evolve

from ..access.policy import Policy
from ..access.reverse import ReverseNames
from ..interfaces import IContent, IMessagePolicy
from ..parts import find, kind_of
from ..serve.smtp_policies import PolicyMaker
from ..transfer.submission import Submission
from ..values import ACCEPT, Address, Recipient, Transaction, Verdict


class Says(Policy):
    """A policy that says what the setting `verdicts` says."""

    name = "script"

    def __init__(self, text: str) -> None:
        self._said: dict[tuple[str, str], Verdict] = {}
        for one in text.split("|"):
            when, _, what = one.partition("=")
            moment, _, recipient = when.partition(":")
            action, _, argument = what.partition(":")
            verdict = Verdict(action, rule=moment, mailbox=argument if action == "quarantine" else "")
            if action == "redirect":
                local, _, domain = argument.rpartition("@")
                verdict = evolve(verdict, targets=(Address(local, domain),))
            self._said[moment, recipient] = verdict

    def _of(self, moment: str, recipient: str = "") -> Verdict:
        return self._said.get((moment, recipient), self._said.get((moment, ""), ACCEPT))

    async def on_sender(self, transaction: Transaction) -> Verdict:
        """See IMessagePolicy."""
        return self._of("sender")

    async def on_recipient(self, transaction: Transaction, recipient: Recipient) -> Verdict:
        """See IMessagePolicy."""
        return self._of("recipient", str(recipient.address))

    async def on_data(self, transaction: Transaction) -> Verdict:
        """See IConnectionPolicy."""
        return self._of("data")

    async def on_content(self, transaction: Transaction, content: IContent) -> Verdict | Mapping[Address, Verdict]:
        """See IMessagePolicy."""
        if ("content", "") in self._said:
            return self._of("content")
        return {one.address: self._of("content", str(one.address)) for one in transaction.recipients}


def policy_makers(settings: dict[str, Any], bed: Any, authorizer: Any) -> list[Callable[[], Any]]:
    """Makers of the policies in `parts`, which is taken out of `settings`; `submission` is replaced by its flags."""
    if isinstance(settings.get("submission"), str):
        settings["submission"] = Submission(**dict.fromkeys(settings["submission"].split(","), True))
    server = SimpleNamespace(hostname="mx.example.org")
    site = SimpleNamespace(
        directory=bed.store.directory,
        authorizer=authorizer,
        monotonic=bed.clock.seconds,
        access=SimpleNamespace(resolver=bed.names, names=ReverseNames(bed.names)),
        options=SimpleNamespace(
            site=server, domains={"example.org": None}, servers={"smtp/default": server, "lmtp/default": server}
        ),
    )
    makers: list[Callable[[], Any]] = [_maker(text, site) for text in settings.pop("parts", "").split("|") if text]
    said = settings.pop("verdicts", "")
    return [*makers, lambda: Says(said)] if said else makers


def _maker(text: str, site: Any) -> PolicyMaker:
    """What makes the policy "part:key=value;key=value"; values of lists are separated by commas."""
    name, _, words = text.partition(":")
    part = find(IMessagePolicy, name)
    table = dict(word.split("=", 1) for word in words.split(";") if word)
    options = part.read({key: _value(part.options, key, value) for key, value in table.items()})
    built = part.build(options, site)
    return PolicyMaker(getattr(built, "for_connection", None) or (lambda: part.builder(options, site)), name)


def _value(options: type, key: str, text: str) -> Any:
    """A value as TOML would have it."""
    if kind_of(options, key).name.startswith("list"):
        return text.split(",")
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text
