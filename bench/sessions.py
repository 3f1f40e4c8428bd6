"""What administration costs with thousands of sessions open, and whether it keeps others waiting.

    python -m bench.sessions [--connections 10000] [--rounds 3]

POP3 clients connect and say nothing; then they are listed, counted, looked for and ended, and their server is paused
and stopped, over the control socket, while a probe in a process of its own says NOOP over IMAP4 every 5 ms.  Goals: a
list in 300 ms, everything else in 50, nobody waits longer than 20.  The first line is the probe with nothing to do: the
machine's own noise.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailsrv.host.control.client import Client

from .idle import GREETINGS, open_all
from .lag import CONFIG, Probe, Stall, serve

SETTINGS = """max_connections = "off"
max_connections_per_address = "off"
login_timeout = "off"
idle_timeout = "off"
[metrics]
listen = ["127.0.0.1:0"]
"""


def control(folder: Path, name: str, /, **arguments: Any) -> Callable[[], object]:
    """An operation, ready to be done."""

    def work() -> None:
        with Client(folder / "data" / "control.sock") as client:
            if name == "session.list":
                found = sum(len(item["rows"]) for item in client.stream(name, arguments))
                assert found >= 1
            else:
                answer = client.call(name, arguments)
                assert "result" in answer, answer

    return work


def scrape(address: str) -> Callable[[], object]:
    """The page of counters."""

    def work() -> None:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            assert b"mailsrv_sessions" in answer.read()

    return work


def wait_for_nobody(folder: Path) -> None:
    """Until the last client has left."""
    with Client(folder / "data" / "control.sock") as client:
        while client.call("server.show", {"name": "pop3/default"})["result"]["connections"]:
            time.sleep(0.02)


def measure(count: int) -> list[Stall]:
    """One site: what was done, how long it took, and the longest wait of the probe."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process, imap_port, pop3_port = serve(folder, CONFIG + SETTINGS)
        try:
            page = json.loads((folder / "data" / "ready.json").read_text())["metrics"][0]
            clients = open_all(pop3_port, count, GREETINGS["pop3"])
            with Probe(imap_port) as probe:
                found = [
                    probe.watch("nothing", lambda: None),
                    probe.watch("session.list", control(folder, "session.list")),
                    probe.watch("session.list --peer", control(folder, "session.list", peer="127.0.1.1")),
                    probe.watch("session.show", control(folder, "session.show", id=count // 2)),
                    probe.watch("server.list", control(folder, "server.list")),
                    probe.watch("site.status", control(folder, "site.status")),
                    *(
                        probe.watch(f"{noun}.{verb}", control(folder, f"{noun}.{verb}", **{key: value}))
                        for noun, key, value in (("server", "name", "pop3/default"), ("service", "service", "pop3"))
                        for verb in ("pause", "resume")
                    ),
                    probe.watch("the page of counters", scrape(page)),
                    probe.watch("session.terminate", control(folder, "session.terminate", id=count // 2)),
                    probe.watch(
                        "session.terminate_all", control(folder, "session.terminate_all", server="pop3/default")
                    ),
                ]
                for client in clients:
                    client.close()
                clients = open_all(pop3_port, count, GREETINGS["pop3"])
                found.append(probe.watch("server.stop", control(folder, "server.stop", name="pop3/default")))
                found.append(probe.watch("server.stop until all are gone", lambda: wait_for_nobody(folder)))
            for client in clients:
                client.close()
            return found
        finally:
            process.terminate()
            process.wait(30)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.sessions")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rounds = [measure(given.connections) for _ in range(given.rounds)]
    print(f"{'with ' + str(given.connections) + ' sessions':30}  least ms  most ms   wait of others, least and most ms")
    for row in zip(*rounds):
        took, waits = [one.seconds * 1e3 for one in row], [one.longest for one in row]
        print(f"{row[0].what:30}  {min(took):8.1f}  {max(took):7.1f}   {min(waits):8.1f}  {max(waits):7.1f}")


if __name__ == "__main__":
    main()
