"""Whole sites on a real reactor, in a child process: several side by side, started and stopped again and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: Processes of their own: more than a second each on a slow machine.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent

#: What every child begins with: `text(name)`, `mail(port)` and `files()`.
BEGINNING = """
import json, os, sys, threading
from pathlib import Path
from twisted.internet import defer, protocol, reactor, task
from mailsrv.host.embed import deliver, site_from_text
from mailsrv.host.control.run import run

folder = Path(sys.argv[1])
results = {}

def text(name, more=""):
    servers = "".join(f'[{p}.default]\\nlisten = ["127.0.0.1:0"]\\n' for p in ("smtp", "imap", "pop3"))
    return (f'[site]\\nhostname = "mx.{name}.test"\\ndomains = ["{name}.test"]\\n[auth.directory]\\n'
            f'[store]\\nuse = "{STORE}"\\n{servers}{more}')

class Client(protocol.Protocol):
    def __init__(self):
        self.got, self.wanted, self.waiting, self.gone = b"", b"", None, defer.Deferred()
    def until(self, wanted):
        self.wanted, self.waiting = wanted, defer.Deferred()
        self.dataReceived(b"")
        return self.waiting or defer.succeed(None)
    def dataReceived(self, data):
        self.got += data
        if self.waiting is not None and self.wanted in self.got:
            waiting, self.waiting = self.waiting, None
            waiting.callback(None)
    def connectionLost(self, reason):
        self.gone.callback(None)

async def connect(port):
    return await protocol.ClientCreator(reactor, Client).connectTCP("127.0.0.1", port, timeout=5)

def port_of(site, server):
    return int(site.servers[server].addresses()[0].rpartition(":")[2])

def open_files():
    return len(os.listdir("/proc/self/fd"))

def begin(main):
    def done(result):
        if result is not None:
            results["failed"] = result.getTraceback()
        print(json.dumps(results))
        reactor.stop()
    reactor.callLater(50, os._exit, 3)
    reactor.callWhenRunning(lambda: defer.Deferred.fromCoroutine(main()).addBoth(done))
    reactor.run()
"""


def child(folder: Path, script: str, store: str = "sqlite") -> dict[str, Any]:
    """Run a script; what it put into `results`."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    ended = subprocess.run(
        [sys.executable, "-c", f"STORE = {store!r}\n{BEGINNING}\n{script}\nbegin(main)", str(folder)],
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    results: dict[str, Any] = json.loads(ended.stdout)
    assert "failed" not in results, results["failed"]
    assert b"Unhandled" not in ended.stderr and b"Traceback" not in ended.stderr, ended.stderr.decode()
    return results


SIDE_BY_SIDE = """
async def main():
    sites = [site_from_text(text(name), folder / name, reactor) for name in ("one", "two")]
    for site in sites:
        site.startService()
    await defer.gatherResults([site.started for site in sites])
    for site in sites:
        domain = next(iter(site.options.domains))
        await run(site, "user.add", {"address": f"me@{domain}", "password": "correct horse battery"})
        client = await connect(port_of(site, "smtp/default"))
        client.transport.write(
            b"EHLO c.example\\r\\nMAIL FROM:<>\\r\\nRCPT TO:<me@one.test>\\r\\nRCPT TO:<me@two.test>\\r\\nDATA\\r\\n")
        await client.until(b"354 ")
        client.transport.write(b"Subject: hi\\r\\n\\r\\nhi\\r\\n.\\r\\nQUIT\\r\\n")
        await client.gone
        results[domain] = client.got.decode()
    first, second = sites
    results["counters"] = [site.servers["smtp/default"].services.counters["messages"] for site in sites]
    await first.stopService()
    await deliver(second, b"Subject: x\\r\\n\\r\\nx\\r\\n", ["me@two.test"])
    client = await connect(port_of(second, "imap/default"))
    await client.until(b"* OK")
    results["second goes on"] = client.got.decode()
    await second.stopService()
    results["ready files"] = [str(p) for p in folder.rglob("ready.json")]
"""


def test_two_sites_in_one_process_share_nothing(tmp_path: Path) -> None:
    found = child(tmp_path, SIDE_BY_SIDE)
    for name, other in (("one", "two"), ("two", "one")):
        said = found[f"{name}.test"]
        assert f"220 mx.{name}.test ESMTP" in said and "250 2.0.0 OK id=" in said
        # Each knows its own domain only.
        assert said.count("250 2.1.5 Recipient OK") == 1 and said.count("550 5.7.1 Relay access denied") == 1, other
    assert found["counters"] == [1, 1]
    assert found["second goes on"].startswith("* OK") and found["ready files"] == []


AGAIN_AND_AGAIN = """
async def once(number):
    sites = [site_from_text(text(name), folder / name, reactor) for name in ("one", "two")]
    for site in sites:
        site.startService()
    await defer.gatherResults([site.started for site in sites])
    clients = [await connect(port_of(site, server)) for site in sites for server in site.servers]
    for site in sites:
        domain = next(iter(site.options.domains))
        if number == 0:
            await run(site, "user.add", {"address": f"me@{domain}", "password": "correct horse battery"})
        await deliver(site, b"Subject: x\\r\\n\\r\\nx\\r\\n", [f"me@{domain}"])
    await defer.gatherResults([site.stopService() for site in sites])
    await defer.gatherResults([client.gone for client in clients])
    for site in sites:
        await site.stopService()
    # Threads of the hasher end by themselves, soon.
    for _ in range(100):
        if threading.active_count() == results.get("threads", [1])[0]:
            break
        await task.deferLater(reactor, 0.01)
    results.setdefault("files", []).append(open_files())
    results.setdefault("threads", []).append(threading.active_count())
    results["delayed"] = len(reactor.getDelayedCalls())

async def main():
    for number in range(20):
        await once(number)
"""


@pytest.mark.parametrize("store", ["sqlite", "memory"])
def test_started_and_stopped_twenty_times_nothing_is_left(tmp_path: Path, store: str) -> None:
    script = AGAIN_AND_AGAIN if store == "sqlite" else AGAIN_AND_AGAIN.replace("number == 0", "True")
    found = child(tmp_path, script, store)
    assert found["files"][1:] == [found["files"][1]] * 19
    assert found["threads"] == [found["threads"][0]] * 20
    # The child's own alarm, and nothing of any site.
    assert found["delayed"] == 1


STOPPED_AT_ONCE = """
async def main():
    for _ in range(3):
        site = site_from_text(text("one"), folder / "one", reactor)
        site.started.addErrback(lambda failure: results.setdefault("why", failure.getErrorMessage()) and None)
        site.startService()
        await site.stopService()
        results.setdefault("files", []).append(open_files())
    results["left"] = sorted(p.name for p in (folder / "one").rglob("*") if p.name in ("ready.json", "control.sock"))
    results["delayed"] = len(reactor.getDelayedCalls())
    site = site_from_text(text("one"), folder / "one", reactor)
    site.startService()
    await site.started
    results["states"] = [server.state for server in site.servers.values()]
    await site.stopService()
"""


def test_a_site_stopped_while_it_starts_leaves_nothing_and_can_be_started_again(tmp_path: Path) -> None:
    found = child(tmp_path, STOPPED_AT_ONCE)
    assert "stopped before" in found["why"]
    assert len(set(found["files"][1:])) == 1 and found["left"] == [] and found["delayed"] == 1
    assert found["states"] == ["running"] * 3


MANUAL = """
async def main():
    more = '[smtp.manual]\\nlisten = ["127.0.0.1:0"]\\nstartup = "manual"\\n'
    site = site_from_text(text("one", more), folder / "one", reactor)
    site.startService()
    await site.started
    server = site.servers["smtp/manual"]
    results["before"] = [server.state, server.addresses()]
    for _ in range(2):
        server.start()
        client = await connect(port_of(site, "smtp/manual"))
        await client.until(b"220 ")
        await server.stop()
        await client.gone
        results.setdefault("said", []).append(client.got.decode())
    results["after"] = [server.state, server.addresses()]
    await site.stopService()
"""


def test_s_013_a_server_for_manual_start_has_no_address_until_it_runs(tmp_path: Path) -> None:
    found = child(tmp_path, MANUAL, "memory")
    assert found["before"] == found["after"] == ["stopped", []]
    assert all("421 4.3.2 Service is stopping" in said for said in found["said"]) and len(found["said"]) == 2


HANGING = """
from attrs import evolve

class Never:
    async def on_sender(self, transaction):
        await defer.Deferred()

async def main():
    site = site_from_text(text("one"), folder / "one", reactor, policies=[lambda site: Never()])
    site.options = evolve(site.options, site=evolve(site.options.site, drain_time=0.6))
    site.startService()
    await site.started
    client = await connect(port_of(site, "smtp/default"))
    client.transport.write(b"HELO c\\r\\nMAIL FROM:<>\\r\\n")
    await client.until(b"250 ")
    began = reactor.seconds()
    await site.stopService()
    results["seconds"] = reactor.seconds() - began
    await client.gone
    results["said"] = client.got.decode()
"""


def test_a_policy_that_never_answers_does_not_keep_a_site_from_stopping(tmp_path: Path) -> None:
    found = child(tmp_path, HANGING, "memory")
    assert found["seconds"] < 5 and "421 4.3.2 Service is stopping" in found["said"]
