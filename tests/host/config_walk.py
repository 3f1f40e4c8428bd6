"""Every option of a running site is changed once and taken back: a program of its own, because it needs a reactor.

`python -m tests.host.config_walk FOLDER` prints JSON: how many options were changed, which could
not be, what went wrong.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from mailsrv.errors import ConfigError
from mailsrv.host.config.edit import edited, setting
from mailsrv.host.config.load import load, loads
from mailsrv.host.config.show import Shown, flatten, written
from mailsrv.host.control.run import run
from mailsrv.host.live import in_effect
from mailsrv.host.site import Site
from mailsrv.parts import dotted, kind_of

CONFIG = """\
[site]
hostname = "mx.example.test"
domains = ["example.test", "relay.test"]
[store]
use = "memory"
[domain."relay.test"]
kind = "relay"
[auth]
use = ["directory"]
[auth.directory]
[access.office]
list = ["192.0.2.0/24"]
[routes."far.test"]
host = ["mx.far.test"]
[role.helper]
actions = ["session.list"]
[smtp.default]
listen = ["127.0.0.1:0"]
relay = "office"
[imap.default]
listen = ["127.0.0.1:0"]
access = "office"
[pop3.default]
listen = ["127.0.0.1:0"]
"""
#: Tried in this order; the first that the key may have is taken.
TEXTS = ("2m", "3m", "3d", "64K", "2M", "off", "x", "mx2.example.test", "192.0.2.1")
#: Options of one change.
TOGETHER = 16
#: What is read from files that are not there is refused, and so is another data folder.
FILES = ("tls.", "routes.", ".use", "site.data", "recipients_file")


def others(value: Any, kind: str) -> list[Any]:
    """Other values, some of which may be none for that key."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, *TEXTS]
    if isinstance(value, list):
        return [value[:-1], [*value, "192.0.2.7"], ["3m"], ["mx2.example.test"]]
    words = kind.split(" | ") if " | " in kind else TEXTS
    return [one for one in (*words, 7, True, False) if one != value]


def another(shown: Shown) -> Any:
    """Another value that this key may have; None: there is none of these."""
    key = shown.path
    if shown.table is None or any(part in dotted(key) for part in FILES):
        return None
    kind = kind_of(shown.table, key[-1])
    for one in others(shown.value, kind.name):
        try:
            if written(kind.name, kind.read(one)) != shown.value:
                return one
        except ValueError:
            continue
    return None


class Walk:
    """One site and its file."""

    def __init__(self, site: Any, path: Path) -> None:
        self.site, self.path = site, path
        self.first, self.text = site.options, path.read_text()
        self.changed, self.left, self.wrong = 0, list[str](), list[Any]()

    async def all(self) -> dict[str, Any]:
        """Every option, some at a time."""
        wanted = []
        for shown in flatten(self.first):
            one = another(shown)
            if one is None:
                self.left.append(dotted(shown.path))
            else:
                wanted.append((shown.path, one))
        for at in range(0, len(wanted), TOGETHER):
            await self.some(wanted[at : at + TOGETHER])
        return {"changed": self.changed, "left": self.left, "wrong": self.wrong}

    async def some(self, wanted: list[tuple[tuple[str, ...], Any]]) -> None:
        """There and back; those that cannot be together, one by one."""
        text = self.text
        try:
            for key, one in wanted:
                text = edited(text, setting(key, one), self.path)
            loads(text, self.path)
        except ConfigError:
            half = len(wanted) // 2
            if half:
                await self.some(wanted[:half])
                await self.some(wanted[half:])
            else:
                self.left.append(dotted(wanted[0][0]))
            return
        said = await run(self.site, "config.put", {"text": text})
        names = [dotted(key) for key, _ in wanted]
        if "result" not in said:
            self.wrong.append([names, said["error"]])
            return
        told = [*said["result"]["applied"], *said["result"]["restart"]]
        self.changed += len(wanted)
        self.wrong += [[name, "is not told"] for name in names if name not in told]
        if self.site.options != in_effect(self.first, load(self.path)):
            self.wrong.append([names, "is not in effect"])
        back = await run(self.site, "config.rollback", {})
        if "result" not in back or self.site.options != self.first or self.path.read_text() != self.text:
            self.wrong.append([names, f"is not taken back: {back.get('error')}"])


def main(folder: Path) -> None:
    """One site."""
    path, failures = folder / "mailsrv.toml", []
    path.write_text(CONFIG)

    def look(event: Any) -> None:
        """What nobody has caught."""
        if "log_failure" in event:
            failures.append(str(event["log_failure"]))

    globalLogPublisher.addObserver(look)
    site = Site(load(path), reactor)

    async def all_of_it() -> None:
        try:
            site.startService()
            await site.started
            told = await Walk(site, path).all()
            await site.stopService()
            sys.stdout.write(json.dumps({**told, "failures": failures}))
        except BaseException:
            traceback.print_exc()
        finally:
            reactor.stop()  # type: ignore[attr-defined]

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(all_of_it()))  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
