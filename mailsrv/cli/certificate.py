"""mailsrv certificate ...: certificates of servers (floor 7; S-048 to S-052)."""

from __future__ import annotations

import argparse
import base64
import os
import sys
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..host.control.certificate import MAX_FILE
from ..net.certificate_read import locked
from .common import UsageError, emit, noun, options_of, perform, read_password, table, verb
from .queue import confirm


def add_parsers(nouns: Any) -> None:
    """The noun certificate."""
    verbs = noun(nouns, "certificate", "certificates for TLS")
    verb(verbs, "list", _list, "names, expiry, who shows them, pending requests, what is wrong")
    parser = _named(verb(verbs, "request", _request, "make a key and a certificate request, or show the pending one"))
    _hosts(parser)
    parser.add_argument("--org", default="", metavar="NAME", help="the organization")
    parser.add_argument("--country", default="", metavar="XX", help="its country, two letters")
    parser.add_argument("--renew", action="store_true", help="make another in the place of the pending one")
    parser.add_argument("--out", metavar="FILE", help="write the request there; default: standard output")
    _named(verb(verbs, "cancel", _cancel, "forget the pending request and its key")).add_argument(
        "--yes", action="store_true", help="do not ask"
    )
    parser = _named(verb(verbs, "install", _install, "put the certificate that came back in its place"))
    parser.add_argument("file", metavar="FILE", help="PEM, DER or PKCS #7, with those between; -: standard input")
    parser = _named(verb(verbs, "import", _import, "put a certificate with its key in place: PEM or PKCS #12"))
    parser.add_argument("files", nargs="+", metavar="FILE", help="certificate and key, in one file or two")
    parser.add_argument("--password-file", metavar="FILE", help="with the password of the key in its first line")
    parser = _named(verb(verbs, "self-signed", _self_signed, "make a certificate that nobody vouches for"))
    _hosts(parser)
    parser.add_argument("--replace", action="store_true", help="also in the place of one that is still good")
    parser = _named(verb(verbs, "assign", _assign, "have servers show it"))
    parser.add_argument("servers", nargs="+", metavar="PROTOCOL/NAME")


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME", help="of the table [tls.NAME], made when it is missing")
    return parser


def _hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", action="append", default=[], metavar="H", dest="hosts",
        help="a name that clients use, may be repeated; default: those of the certificate in place",
    )
    parser.add_argument("--key", choices=("ec", "rsa"), default="ec", help="ec: P-256; rsa: 2048 bits")


# ---------------------------------------------------------------- verbs


def _list(args: argparse.Namespace) -> int:
    """A table, and below it what is wrong."""
    found = perform(options_of(args), [("certificate.list", {})])[0]
    rows = [
        [_name(one), _some(one.get("hosts", ())), _some([one.get("issuer", "")]), one.get("expires", "")[:10],
         str(one.get("days_left", "")), _some(one["servers"])]
        for one in found
    ]  # fmt: skip
    lines = table(rows, ("NAME", "HOSTS", "ISSUER", "EXPIRES", "DAYS", "SERVERS"))
    for one in found:
        if one["pending"] and not one.get("pair"):
            since = one["pending"]["since"][:10]
            lines.append(f"{one['name']}: a request is pending since {since}, for {_some(one['pending']['hosts'])}")
        lines += [f"{_name(one)}: {problem}" for problem in one["problems"]]
    return emit(args, found, lines)


def _name(one: dict[str, Any]) -> str:
    """What a row is called; those of a folder after their table."""
    return f"{one['name']}: {one['pair']}" if one.get("pair") else str(one["name"])


def _some(texts: Any, most: int = 3) -> str:
    """A few of them."""
    shown = [text if len(text) <= 40 else text[:37] + "..." for text in texts]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more or "-"


def _request(args: argparse.Namespace) -> int:
    """The request alone goes to standard output, so that it can be sent on."""
    call = {
        "name": args.name, "hosts": args.hosts, "organization": args.org, "country": args.country, "key": args.key,
        "renew": args.renew,
    }  # fmt: skip
    found = perform(options_of(args), [("certificate.request", call)])[0]
    if args.out:
        _write(Path(args.out), found["request"])
    what = f"this request is pending since {found['since']}" if found["pending"] else "made a key and a request"
    notes = [
        f"{what}: {found['subject']}, for {', '.join(found['hosts'])}",
        f"send it to an authority, then: mailsrv certificate install {args.name} FILE",
    ]
    if args.json:
        return emit(args, found, [])
    if args.out:
        return emit(args, found, notes)
    sys.stderr.writelines(f"{line}\n" for line in notes)
    return emit(args, found, [found["request"].rstrip("\n")])


def _cancel(args: argparse.Namespace) -> int:
    """Asks, since a certificate that is on its way would be worth nothing."""
    if not args.yes:
        confirm(f"Forget the request of {args.name} and its key?")
    done = perform(options_of(args), [("certificate.cancel", {"name": args.name})])[0]
    return emit(args, done, [f"the request of {args.name} is forgotten"])


def _install(args: argparse.Namespace) -> int:
    """One file."""
    call = {"name": args.name, "file": _file(args.file)}
    return _put(args, perform(options_of(args), [("certificate.install", call)])[0])


def _import(args: argparse.Namespace) -> int:
    """One file or two; a password is asked for when one is needed."""
    files = [_file(name) for name in args.files]
    password = ""
    if args.password_file or any(locked(base64.b64decode(one)) for one in files):
        password = read_password(args, "the key", confirm=False)
    call = {"name": args.name, "files": files, "password": password}
    return _put(args, perform(options_of(args), [("certificate.import", call)])[0])


def _self_signed(args: argparse.Namespace) -> int:
    """New key, new certificate."""
    call = {"name": args.name, "hosts": args.hosts, "key": args.key, "replace": args.replace}
    return _put(args, perform(options_of(args), [("certificate.self_signed", call)])[0])


def _put(args: argparse.Namespace, done: dict[str, Any]) -> int:
    """What is in place now."""
    lines = [
        f"{done['file']} is in place: {', '.join(done['hosts']) or done['subject']}, until {done['expires'][:10]}",
        f"issued by {done['issuer']}; chain of {done['chain']}, key {done['key']}",
    ]
    if done["servers"]:
        lines.append(f"shown by {', '.join(done['servers'])}")
    else:
        lines.append(f"no server shows it yet: mailsrv certificate assign {args.name} PROTOCOL/NAME")
    return emit(args, done, [*lines, *(f"warning: {text}" for text in done["warnings"])])


def _assign(args: argparse.Namespace) -> int:
    """One line."""
    call = {"name": args.name, "servers": args.servers}
    done = perform(options_of(args), [("certificate.assign", call)])[0]
    verb = "show" if len(done["servers"]) > 1 else "shows"
    lines = [f"{', '.join(done['servers'])} {verb} [tls.{done['name']}] now"]
    return emit(args, done, [*lines, *(f"at the next start: {key}" for key in done["restart"])])


# ---------------------------------------------------------------- files


def _file(name: str) -> str:
    """A file in base64.  Raises ConfigError, UsageError."""
    try:
        if name == "-":
            octets = sys.stdin.buffer.read(MAX_FILE + 1)
        else:
            with open(name, "rb") as file:
                octets = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=name) from error
    if len(octets) > MAX_FILE:
        raise UsageError(f"{name} is larger than {MAX_FILE} octets: that is no certificate")
    return base64.b64encode(octets).decode("ascii")


def _write(path: Path, text: str) -> None:
    """A file that may be there already.  Raises ConfigError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(text)
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=str(path)) from error
