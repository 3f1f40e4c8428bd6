"""Policies of a bed, from words of its settings.

    parts         "senders:list=spam.example,<>;action=drop|helo:fqdn=true": asked after the relay rule
    submission    "complete,hide_client,show_user": the flags of `Submission` that are on
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ..access.reverse import ReverseNames
from ..interfaces import IMessagePolicy
from ..parts import find, kind_of
from ..serve.smtp_policies import PolicyMaker
from ..transfer.submission import Submission


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
    return [_maker(text, site) for text in settings.pop("parts", "").split("|") if text]


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
