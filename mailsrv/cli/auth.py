"""mailsrv auth ...: what is offered to log in with, and whether a login would work (floor 7)."""

from __future__ import annotations

import argparse
from typing import Any

from .common import emit, noun, options_of, perform, read_password, table, verb


def add_parsers(nouns: Any) -> None:
    """The noun auth."""
    verbs = noun(nouns, "auth", "how people log in")
    verb(verbs, "list", _list, "authenticators, and what each server offers")
    parser = verb(verbs, "test", _test, "would this login work? a whole exchange without a network")
    parser.add_argument("address", metavar="NAME[@DOMAIN]", help="the login name as a client would send it")
    parser.add_argument("--server", default="", metavar="PROTOCOL/NAME", help="default: the first server")
    parser.add_argument("--mechanism", default="PLAIN", metavar="NAME", help="default: PLAIN")
    parser.add_argument("--without-tls", action="store_true", help="as on a connection without TLS")
    parser.add_argument("--password-file", metavar="FILE", help="its first line is the password (or token)")


def _list(args: argparse.Namespace) -> int:
    """Two tables."""
    found = perform(options_of(args), [("auth.list", {})])[0]
    rows = [
        [one["name"], ", ".join(one["schemes"]), ", ".join(one["secrets"]) or "-"] for one in found["authenticators"]
    ]
    lines = table(rows, ("AUTHENTICATOR", "CHECKS", "KEEPS"))
    for server in found["servers"]:
        lines += ["", f"{server['server']} (authentication: {', '.join(server['methods']) or 'none'})"]
        lines.append(f"  with TLS        {' '.join(server['with_tls']) or '-'}")
        lines.append(f"  without TLS     {' '.join(server['without_tls']) or '-'}")
        if server["with_certificate"]:
            lines.append(f"  and with a client certificate  {' '.join(server['with_certificate'])}")
        reasons: dict[str, list[str]] = {}
        for name, why in server["not_offered"].items():
            reasons.setdefault(why, []).append(name)
        lines += [f"  not offered     {' '.join(names)}: {why}" for why, names in reasons.items()]
    return emit(args, found, lines)


def _test(args: argparse.Namespace) -> int:
    """One rehearsal."""
    options = options_of(args)
    call = {
        "address": args.address,
        "password": read_password(args, args.address, confirm=False),
        "server": args.server,
        "mechanism": args.mechanism,
        "tls": not args.without_tls,
    }
    found = perform(options, [("auth.test", call)])[0]
    text = f"{found['login']} can log in at {found['server']} by {found['mechanism']}"
    return emit(args, found, [text])
