"""--site HOST:PORT: the same commands for a site on another machine (floor 7; S-028)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MailError
from ..host.control.client import Target
from ..host.tokens import MAX_TOKEN

#: Option -> (placeholder, help).
OPTIONS = {
    "site": ("HOST:PORT", "the site at that address, instead of the one of the configuration file"),
    "token-file": ("FILE", "with --site: the file with the token"),
    "ca": ("FILE", "with --site: PEM file of the authorities that its certificate is trusted for"),
    "fingerprint": ("SHA256", "with --site: the SHA-256 of its certificate, which then needs no authority"),
}


class UsageError(MailError):
    """The command line makes no sense as it stands."""


class RemoteSite:
    """Stands where the options of a site stand.  What is asked of it but its address is a mistake of usage: the command
    works with files of this machine."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        raise UsageError("this command works with files of the site: it cannot be used with --site")


def add_arguments(parser: argparse.ArgumentParser, default: Any) -> None:
    """--site and what belongs to it."""
    for name, (place, text) in OPTIONS.items():
        parser.add_argument(f"--{name}", metavar=place, default=default, help=text)


def remote_site(args: argparse.Namespace) -> RemoteSite:
    """What --site and the others say.  Raises UsageError, ConfigError."""
    host, colon, port = args.site.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--site {args.site}: write HOST:PORT, an IPv6 address in brackets")
    if not args.token_file:
        raise UsageError("--site needs --token-file FILE; `mailsrv token create NAME` makes a token there")
    if args.ca and args.fingerprint:
        raise UsageError("--ca or --fingerprint, not both")
    fingerprint = (args.fingerprint or "").replace(":", "").lower()
    if fingerprint and (len(fingerprint) != 64 or set(fingerprint) - set("0123456789abcdef")):
        raise UsageError("--fingerprint: a SHA-256 has 64 hexadecimal digits")
    return RemoteSite(Target(host.strip("[]"), int(port), _token(Path(args.token_file)), args.ca or "", fingerprint))


def _token(path: Path) -> str:
    """The first line of a file.  Raises ConfigError."""
    try:
        with path.open("rb") as file:
            line = file.read(4096).split(b"\n", 1)[0].strip()
        token = line.decode("ascii")
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=str(path)) from error
    except UnicodeDecodeError:
        token = ""
    if not 0 < len(token) <= MAX_TOKEN:
        raise ConfigError("no token in the first line", file=str(path), line=1)
    return token
