"""mailsrv init: a site in a new folder, ready to run (floor 7)."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MailError, Refused
from ..host.config.edit import write_atomically
from ..host.config.load import loads, machine_name
from ..host.config.options import SiteOptions
from ..host.config.profiles import PROFILES, USUAL_PORTS, Values, ports_from, write_profile
from ..host.config.values import HOSTNAME
from ..net.certificate import ensure
from .common import UsageError, emit, password_from, perform, verb

FILE = "mailsrv.toml"
FIRST_ACCOUNT = "me"
#: No letter or digit that is read as another.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def add_parsers(nouns: Any) -> None:
    """The command init."""
    parser = verb(nouns, "init", _init, "make a site: configuration, keys, data folder, first account")
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--domain", action="append", default=[], metavar="D", help="local domain; may be repeated")
    parser.add_argument("--port-base", type=int, metavar="N", help="ports N + the last two digits of the usual ones")
    parser.add_argument("--high-ports", action="store_true", help="2525, 2587, 2465, 1143, 1993, 1110, 1995")
    parser.add_argument("--profile", choices=list(PROFILES), default="default")
    parser.add_argument("--address", default="*", metavar="IP", help="listen on this address only")
    parser.add_argument("--password-file", metavar="FILE", help="the password, instead of one made up")


def _init(args: argparse.Namespace) -> int:
    """Make everything, tell what to do next."""
    folder = Path(args.folder)
    text = _configuration(args)
    password = password_from(Path(args.password_file)) if args.password_file else ""
    if args.profile == "test" and not password:
        raise UsageError("the profile test needs --password-file FILE: the one password of all names")
    options = _make_files(folder, text, password if args.profile == "test" else "")
    facts: dict[str, Any] = {"config": str(options.file), "data": str(options.data), "domains": [*options.domains]}
    lines = [f"made {options.file}"]
    if args.profile != "test":
        lines += _first_account(options, password, facts)
    lines += [f"warning: {warning}" for warning in options.warnings]
    lines.append(f"start it with: twistd -n mailsrv --config {options.file}")
    return emit(args, facts, lines)


def _configuration(args: argparse.Namespace) -> str:
    """The text of the file.  Raises UsageError."""
    try:
        domains = list(dict.fromkeys(str(HOSTNAME.read(domain)) for domain in args.domain))
        address = "[" + args.address + "]" if ":" in args.address and "[" not in args.address else args.address
    except ValueError as error:
        raise UsageError(f"--domain {error}") from None
    machine = machine_name()
    if not domains:
        domains = [machine if "." in machine else "localhost"]
    if args.port_base is not None and args.high_ports:
        raise UsageError("--port-base and --high-ports exclude each other")
    if args.port_base is not None and not 1 <= args.port_base <= 65535 - 95:
        raise UsageError("--port-base must be 1 to 65440")
    ports = ports_from(args.port_base) if args.port_base is not None else high_ports() if args.high_ports else {}
    tables: dict[str, Values] = {"auth.any": {"password_file": "data/test-password"}} if args.profile == "test" else {}
    hostname = machine if "." in machine else domains[0]
    return write_profile(args.profile, hostname, domains, host=address, ports=ports, tables=tables)


def high_ports() -> dict[int, int]:
    """The usual ports moved to where everybody may listen: 25 to 2525, 587 to 2587, 143 to 1143 and so on."""
    return {usual: (2500 if usual == 25 else 2000 if usual in (587, 465) else 1000) + usual for usual in USUAL_PORTS}


def _make_files(folder: Path, text: str, test_password: str) -> SiteOptions:
    """Folder, configuration, data folder, keys.  Raises Refused when a site is there already, ConfigError."""
    path = folder / FILE
    if path.exists():
        raise Refused(f"{path} is there already; `mailsrv check {path}` reads it")
    # A mistake (an --address nobody can have, say) shows before anything is made.
    options = loads(text, path)
    table = options.certificates["default"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        options.data.mkdir(mode=0o700, exist_ok=True)
        if any(options.data.iterdir()):
            raise Refused(f"{options.data} holds something already; choose another folder or move it away")
        ensure(
            options.base / table.certificate, options.base / table.key, [options.site.hostname, *options.domains]
        )
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=str(folder)) from error
    if test_password:
        write_atomically(options.data / "test-password", f"{test_password}\n".encode(), 0o600)
    write_atomically(path, text.encode("utf-8"))
    return options


def _first_account(options: SiteOptions, password: str, facts: dict[str, Any]) -> list[str]:
    """Add it; a password made up is shown once, on a terminal, else left in a file that is ours alone."""
    address = f"{FIRST_ACCOUNT}@{next(iter(options.domains))}"
    made = not password
    password = password or "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))
    try:
        perform(options, [("user.add", {"address": address, "password": password})])
    except MailError as error:
        raise Refused(f"{options.file} is made, but not the account: {error}; try `mailsrv user add`") from error
    facts["account"] = address
    if not made:
        return [f"account {address} with the password of the file"]
    if sys.stdout.isatty():
        facts["password"] = password
        return [f"account {address}", f"password {password}   (shown this once)"]
    path = options.base / "first-password"
    write_atomically(path, f"{password}\n".encode(), 0o600)
    facts["password_file"] = os.fspath(path)
    return [f"account {address}", f"its password is in {path}; read it, then remove the file"]
