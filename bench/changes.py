"""What a change of the options of a running site costs, and whether it keeps others waiting.

    python -m bench.changes [--servers 50] [--times 10]

One key after another is changed over the control socket, while a probe in a process of its own says NOOP over IMAP4
every 5 ms.  Goal: nobody waits longer than 20 ms.  The first line is the probe with nothing to do: the machine's own
noise.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mailsrv.host.control.client import Client

from .lag import CONFIG, Probe, Stall, serve

#: Keys with two values each, which are set in turn.
KEYS = (
    ("smtp.default.max_recipients", "100", "200"),
    ("smtp.default.max_hops", "20", "30"),
    ("imap.default.idle_timeout", "31m", "40m"),
    ("imap.default.title", "one", "another"),
    ("limits.quota", "1G", "2G"),
    ("site.domains", '["bench.example"]', '["bench.example", "other.example"]'),
    ("smtp.s1.listen", '["127.0.0.1:0"]', '["127.0.0.1:0", "127.0.0.2:0"]'),
)


def settings(servers: int) -> str:
    """Servers of all protocols, as many as are asked for, with the three that are there."""
    further = (
        f'[{("imap", "smtp", "pop3")[number % 3]}.s{number}]\nlisten = ["127.0.0.1:0"]\n'
        for number in range(1, servers - 2)
    )
    return CONFIG + "".join(further)


def change(client: Client, key: str, value: str) -> Callable[[], object]:
    """Set one key, ready to be done."""

    def work() -> None:
        answer = client.call("config.set", {"key": key, "value": value})
        assert "result" in answer, answer

    return work


def measure(servers: int, times: int) -> dict[str, list[Stall]]:
    """One site; by key what each of its changes took, and the longest wait of the probe."""
    found: dict[str, list[Stall]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process, imap_port, _ = serve(folder, settings(servers))
        try:
            with Probe(imap_port) as probe, Client(folder / "data" / "control.sock") as client:
                for number in range(times):
                    row = [probe.watch("nothing", lambda: time.sleep(0.1))]
                    row += [probe.watch(key, change(client, key, pair[number % 2])) for key, *pair in KEYS]
                    row.append(probe.watch("config.status", lambda: client.call("config.status")))
                    for stall in row:
                        found.setdefault(stall.what, []).append(stall)
        finally:
            process.terminate()
            process.wait(30)
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.changes")
    parser.add_argument("--servers", type=int, default=50)
    parser.add_argument("--times", type=int, default=10)
    given = parser.parse_args()
    print(f"{'with ' + str(given.servers) + ' servers':32} median ms    wait of others: least, median, most ms")
    for what, row in measure(given.servers, given.times).items():
        took, waits = sorted(one.seconds * 1e3 for one in row), sorted(one.longest for one in row)
        middle = len(row) // 2
        print(f"{what:32} {took[middle]:9.1f}    {waits[0]:14.1f} {waits[middle]:7.1f} {waits[-1]:7.1f}")


if __name__ == "__main__":
    main()
