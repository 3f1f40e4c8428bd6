"""Mail of a bed that goes on to other servers: settings of its SMTP servers, and lines of conversations about it.

    onward=true                                  mail for other servers goes into the queue
    domains=a.example:relay,b.example:shared     further domains
    etrn=relay                                   as in the configuration
    dsn=authenticated                            as in the configuration, or "true"
    allowances=quota=5000;mailboxes=8            accounts have limits: fields of SiteLimits, or "true"
    xclient_from=192.0.2.1,10.0.0.0/8            as in the configuration
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from ..access.networks import Matcher, parse_network
from ..access.relay import RelayList, RelayRight
from ..errors import StoreFull, StoreUnavailable, TryLater
from ..serve.allowances import Allowances, SiteLimits
from ..serve.public_folders import PublicFolders
from ..serve.smtp_dsn import Dsn, budget
from ..serve.smtp_etrn import Etrn, QueueStarts
from ..transfer.router import LocalRouter
from ..values import Address, DomainFacts

#: Settings that are no attributes of services.
WORDS = frozenset({"onward", "domains", "xclient_from"})


def apply_onward(
    settings: dict[str, Any], bed: Any, domain: str, server: str, authorizer: Any, lists: Mapping[str, RelayList]
) -> dict[str, Any]:
    """Replace the words in `settings` by what services hold; gives the router that there is without a setting."""
    directory = bed.store.directory
    pairs = [one.partition(":")[::2] for one in settings.pop("domains", "").split(",") if one]
    if pairs:
        facts = [DomainFacts(domain), *(DomainFacts(name, kind or "local") for name, kind in pairs)]
        bed.loop.run(directory.set_domains(facts))
    if settings.get("etrn") in ("relay", "on"):
        starts = QueueStarts(bed.store, directory, bed.clock.seconds)
        right = RelayRight(authorizer, server, lists.get(server))
        settings["etrn"] = Etrn(starts, right, settings["etrn"] == "on")
    if settings.get("dsn"):
        right = RelayRight(authorizer, server, lists.get(server))
        settings["dsn"] = Dsn("on" if settings["dsn"] is True else settings["dsn"], right, budget())
    speakers = settings.pop("xclient_from", "")
    if speakers:
        settings["xclient"] = Matcher((parse_network(text)[0], 0) for text in speakers.split(","))
    onward = bool(settings.pop("onward", False))
    public = settings.get("public_account", "")
    router = LocalRouter(
        directory, lambda: domain, onward=onward, unresolved=lambda name: f"unresolved:{name}",
        folders=PublicFolders(bed.store, lambda: [public]).find if public else None,
    )  # fmt: skip
    return {"router": router}


def apply_allowances(settings: dict[str, Any], bed: Any) -> None:
    """Replace the text of `allowances` by what services hold."""
    text = settings.get("allowances")
    if text is True or isinstance(text, str):
        pairs = [one.split("=") for one in text.split(";")] if isinstance(text, str) else []
        limits = SiteLimits(**{name: int(value) for name, value in pairs})
        settings["allowances"] = Allowances(bed.store.directory, bed.store, limits)


def _address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(local, domain)


class QueueLines:
    """The lines @queued, @due, @put_off, @alias, @account and @fails of a conversation."""

    bed: Any
    _at: str

    def _do_queued(self, rest: str) -> None:
        self._compare(rest, self.bed.loop.run(self.bed.store.queued()))

    def _do_due(self, rest: str) -> None:
        now = self.bed.clock.seconds()
        self._compare(rest, [row for row in self.bed.loop.run(self.bed.store.queued()) if row.due <= now])

    def _do_alias(self, rest: str) -> None:
        name, *targets = [_address(word) for word in rest.split()]
        self.bed.loop.run(self.bed.store.directory.add_alias(name, targets))

    def _do_account(self, rest: str) -> None:
        name, *words = rest.split()
        limits = {key: int(value) for key, _, value in (word.partition("=") for word in words)}
        self.bed.loop.run(self.bed.store.directory.set_limits(self.bed.accounts[name], **limits))

    def _do_slow(self, rest: str) -> None:
        protocol, seconds = rest.split()
        server, looks = self.bed.server(protocol), itertools.count()
        real: Callable[[], float] = server.monotonic
        server.monotonic = lambda: real() + float(seconds) * next(looks)

    def _do_fails(self, rest: str) -> None:
        store = self.bed.store
        error, owner, names = {
            "directory": (TryLater(), store.directory, ("resolve", "credentials")),
            "store": (StoreUnavailable(), store, ("deliver",)),
            "disk": (StoreFull(), store, ("deliver",)),
            "queue": (StoreUnavailable(), store, ("queued", "due", "alter")),
        }[rest]

        async def fail(*arguments: Any, **more: Any) -> Any:
            raise error

        for name in names:
            setattr(owner, name, fail)

    def _compare(self, wanted: str, rows: Any) -> None:
        found = [str(one.address) for row in rows for one in row.recipients]
        assert wanted.split() == found, f"{self._at}\nin the queue: {found}"

    def _do_put_off(self, rest: str) -> None:
        destination, seconds = rest.split()
        now, run, store = self.bed.clock.seconds(), self.bed.loop.run, self.bed.store
        for row in run(store.lease(destination, 1000, "test", now, 60)):
            run(store.settle(row, row.recipients, due=now + float(seconds), reply="451 later"))
