"""One command: a site of its own, the neutral load driver against it and against peers in turn, and a table.

    python -m bench --driver PATH [--peer TARGET.json]... [--rounds 3] [--only smtp_4k,imap_fetch] [--users 3000]

`--driver` is the folder of the driver's package (its README tells about targets and peers).  Servers take turns within
each round, so that the noise of a shared machine falls on all of them alike; `disk sync` lines tell what one durable
write cost in that round.  Accounts are real ones of the directory, passwords are hashed with argon2id.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PASSWORD = "pw"
DOMAIN = "example.test"
#: Mail for this domain goes on to the driver's sink.
RELAY = "relay.test"
TWISTD = Path(sys.executable).with_name("twistd")


def command(folder: Path, *arguments: str) -> None:
    """Run `mailsrv ...`."""
    subprocess.run([sys.executable, "-m", "mailsrv", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def make_site(folder: Path, port_base: int, users: int) -> None:
    """A site of the test profile whose accounts are real ones of the directory."""
    (folder / "password").write_text(PASSWORD + "\n")
    command(folder, "init", "site", "--profile", "test", "--domain", DOMAIN, "--port-base", str(port_base),
            "--password-file", "password")  # fmt: skip
    config = folder / "site" / "mailsrv.toml"
    text = re.sub(r"\[auth\]\nuse = .*", '[auth]\nuse = ["directory"]', config.read_text())
    text = re.sub(r"\[auth\.any\]\n.*\n", "", text)
    config.write_text(f'{text}\n[routes."{RELAY}"]\nhost = ["127.0.0.1"]\nport = {port_base + 90}\n')
    accounts = (json.dumps({"address": f"u{n:04d}@{DOMAIN}", "password": PASSWORD}) for n in range(users))
    (folder / "accounts").write_text("\n".join(accounts) + "\n")
    command(folder, "user", "add", "--config", str(config), "--from", "accounts")


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start the site and wait until it accepts."""
    ready = folder / "site" / "data" / "ready.json"
    ready.unlink(missing_ok=True)
    with (folder / "log").open("ab") as log:
        line = [str(TWISTD), "-n", "--pidfile=", "mailsrv", "--config", str(folder / "site" / "mailsrv.toml")]
        process = subprocess.Popen(line, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit((folder / "log").read_text())
        time.sleep(0.05)
    return process


def target(folder: Path, process: subprocess.Popen[bytes], port_base: int, users: int) -> Path:
    """The driver's description of this site."""
    path = folder / "target.json"
    path.write_text(
        json.dumps(
            {
                "name": "mailsrv", "host": "127.0.0.1", "smtp_port": port_base + 25, "submission_port": port_base + 87,
                "imap_port": port_base + 43, "pop3_port": port_base + 10, "user_format": f"u%04d@{DOMAIN}",
                "password": PASSWORD, "users": users, "pids": [process.pid],
                "relay_domain": RELAY, "sink_port": port_base + 90,
            }
        )
    )  # fmt: skip
    return path


def disk_sync(folder: Path, times: int = 40) -> float:
    """Median milliseconds of appending 4 KiB and syncing it."""
    taken = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def drive(driver: Path, path: Path, out: Path, only: str, scale: float) -> None:
    """One round of the driver against one server; results are appended to `out`."""
    line = [sys.executable, "-m", driver.name, "run", str(path), "--scale", str(scale), "--out", str(out)]
    if only:
        line += ["--only", only]
    subprocess.run(line, cwd=driver.parent, check=False, stdout=subprocess.DEVNULL, timeout=3600)


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure mailsrv beside its peers.")
    parser.add_argument("--driver", type=Path, required=True, help="the folder of the load driver's package")
    parser.add_argument("--peer", type=Path, action="append", default=[], help="target file of a running peer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="workloads, comma separated; default all")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--port-base", type=int, default=34000)
    parser.add_argument("--keep", type=Path, help="where results stay (a folder)")
    args = parser.parse_args()
    driver = args.driver.resolve()
    with tempfile.TemporaryDirectory(prefix="mailsrv-bench-", dir=args.keep) as name:
        folder = Path(name)
        make_site(folder, args.port_base, args.users)
        process = start(folder)
        results = args.keep.resolve() if args.keep else folder
        servers = [("mailsrv", target(folder, process, args.port_base, args.users))]
        servers += [(peer.stem if peer.stem != "target" else peer.parent.name, peer.resolve()) for peer in args.peer]
        try:
            for number in range(args.rounds):
                print(f"round {number + 1}: disk sync {disk_sync(folder):.2f} ms, load {os.getloadavg()[0]:.1f}")
                for title, path in servers if number % 2 == 0 else servers[::-1]:
                    drive(driver, path, results / f"{title}.jsonl", args.only, args.scale)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        files = [str(results / f"{title}.jsonl") for title, _ in servers]
        subprocess.run([sys.executable, "-m", driver.name, "report", *files], cwd=driver.parent, check=True)
        if b"Traceback" in (folder / "log").read_bytes():
            sys.exit(f"the server logged a traceback:\n{(folder / 'log').read_text()[-4000:]}")


if __name__ == "__main__":
    main()
