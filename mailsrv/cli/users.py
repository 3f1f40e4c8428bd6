"""mailsrv user ..., mailsrv alias ... (floor 7)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..host.control.user import MAX_IMPORT
from .common import DONE, NO, UsageError, emit, noun, options_of, perform, read_password, table, verb

MAX_LINE = 64 * 2**10


def add_parsers(nouns: Any) -> None:
    """The nouns user and alias."""
    verbs = noun(nouns, "user", "accounts")
    parser = verb(verbs, "add", _add, "add an account, or many with --from")
    parser.add_argument("address", nargs="?", metavar="NAME@DOMAIN")
    parser.add_argument("--from", dest="source", metavar="FILE", help='JSON lines {"address", "password"}; "-": stdin')
    parser.add_argument("--password-file", metavar="FILE")
    verb(verbs, "list", _list, "all accounts").add_argument("--domain", default="")
    parser = verb(verbs, "password", _password, "set a password")
    parser.add_argument("address", metavar="NAME@DOMAIN")
    parser.add_argument("--password-file", metavar="FILE")
    for name, text in (
        ("remove", "remove an account and all its mail, for good"),
        ("disable", "mail is taken, but nobody can log in"),
        ("enable", "undo disable"),
    ):
        parser = verb(verbs, name, _simple, text)
        parser.add_argument("address", metavar="NAME@DOMAIN")
        parser.set_defaults(operation=f"user.{name}")
    _add_login_parsers(verbs)
    verbs = noun(nouns, "alias", "aliases and lists")
    parser = verb(verbs, "add", _alias_add, "send mail for an address to others")
    parser.add_argument("address", metavar="NAME@DOMAIN")
    parser.add_argument("targets", nargs="+", metavar="TARGET@DOMAIN")
    verb(verbs, "list", _alias_list, "all aliases")
    verb(verbs, "remove", _alias_remove, "remove an alias").add_argument("address", metavar="NAME@DOMAIN")


def _add_login_parsers(verbs: Any) -> None:
    """What an account may log in with, and where."""
    parser = verb(verbs, "app-password", _app_password, "passwords for single programs: add, list, remove")
    parser.add_argument("action", choices=("add", "list", "remove"))
    parser.add_argument("address", metavar="NAME@DOMAIN")
    parser.add_argument("name", nargs="?", default="", metavar="PROGRAM", help='what it is for, "Phone"')
    parser.add_argument("--for", dest="scopes", metavar="PROTOCOLS", help='"imap,smtp"; default: all')
    parser = verb(verbs, "keep", _keep, "which secrets are kept for mechanisms that show no password")
    parser.add_argument("address", metavar="NAME@DOMAIN")
    hint = '"scram-sha-256,ntlm", "none", or "default": as auth.directory says'
    parser.add_argument("kinds", metavar="KINDS", help=hint)
    parser = verb(verbs, "limits", _limits, "how much an account may hold, be sent and send")
    parser.add_argument("address", metavar="NAME@DOMAIN")
    for name, text in (("quota", "all its messages"), ("max-in", "one message to it"), ("max-out", "one from it")):
        parser.add_argument(f"--{name}", default="", metavar="SIZE", help=f'{text}: "500M", "unlimited", "default"')
    verb(verbs, "show", _show, "an account and what it holds").add_argument("address", metavar="NAME@DOMAIN")
    for name, text in (("deny", "take away a protocol or server"), ("allow", "give it back")):
        parser = verb(verbs, name, _permission, f"{text}: imap, pop3, smtp or PROTOCOL/NAME")
        parser.add_argument("address", metavar="NAME@DOMAIN")
        parser.add_argument("what", nargs="+", metavar="PROTOCOL[/NAME]")
        parser.set_defaults(operation=f"user.{name}")


def _add(args: argparse.Namespace) -> int:
    """One account, or many."""
    if bool(args.address) == bool(args.source):
        raise UsageError("user add takes either NAME@DOMAIN or --from FILE")
    if args.source:
        return _import(args)
    options = options_of(args)
    password = read_password(args, args.address)
    added = perform(options, [("user.add", {"address": args.address, "password": password})])[0]
    return emit(args, added, [f"added {added['address']}"])


def _import(args: argparse.Namespace) -> int:
    """Many accounts from JSON lines; those that fail are told, the others stand."""
    options = options_of(args)
    accounts = _read_accounts(args.source)
    calls = [
        ("user.import", {"accounts": accounts[start : start + MAX_IMPORT]})
        for start in range(0, len(accounts), MAX_IMPORT)
    ]
    results = perform(options, calls) if calls else []
    failed = [one for result in results for one in result["failed"]]
    added = sum(result["added"] for result in results)
    emit(
        args, {"added": added, "failed": failed},
        [f"added {added} accounts", *(f"{one['address']}: {one['error']}" for one in failed)],
    )
    return NO if failed else DONE


def _read_accounts(source: str) -> list[dict[str, str]]:
    """The objects of a file of JSON lines.  Raises ConfigError with the line."""
    found = []
    try:
        with sys.stdin.buffer if source == "-" else Path(source).open("rb") as file:
            number = 0
            while octets := file.readline(MAX_LINE + 1):
                number += 1
                if octets.strip():
                    found.append(_read_account(octets, source, number))
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=source) from error
    return found


def _read_account(octets: bytes, source: str, number: int) -> dict[str, str]:
    """One line.  Raises ConfigError."""
    try:
        account = json.loads(octets) if len(octets) <= MAX_LINE else None
    except (ValueError, RecursionError):
        account = None
    if not isinstance(account, dict) or not all(isinstance(value, str) for value in account.values()):
        raise ConfigError('must be one JSON object with "address" and "password"', file=source, line=number)
    return account


def _list(args: argparse.Namespace) -> int:
    """A table of accounts."""
    users = perform(options_of(args), [("user.list", {"domain": args.domain})])[0]
    rows = [
        [
            user["address"],
            "enabled" if user["enabled"] else "disabled",
            time.strftime("%Y-%m-%d", time.gmtime(user["created_at"])),
        ]
        for user in users
    ]
    return emit(args, users, table(rows, ("ADDRESS", "STATE", "CREATED")))


def _password(args: argparse.Namespace) -> int:
    """Set it."""
    options = options_of(args)
    password = read_password(args, args.address)
    changed = perform(options, [("user.password", {"address": args.address, "password": password})])[0]
    return emit(args, changed, [f"changed the password of {changed['address']}"])


def _simple(args: argparse.Namespace) -> int:
    """remove, disable, enable."""
    result = perform(options_of(args), [(args.operation, {"address": args.address})])[0]
    return emit(args, result, [f"{args.operation.partition('.')[2]}d {result['address']}"])


def _app_password(args: argparse.Namespace) -> int:
    """Make, list or remove them."""
    if (args.action == "list") == bool(args.name):
        raise UsageError("user app-password add|remove NAME@DOMAIN PROGRAM, or user app-password list NAME@DOMAIN")
    call: dict[str, Any] = {"address": args.address}
    if args.name:
        call["name"] = args.name
    if args.action == "add":
        call["scopes"] = scopes = [word.strip() for word in (args.scopes or "").split(",") if word.strip()]
        if args.scopes is not None and not scopes:
            # An empty variable of a script must not make the password good for everything.
            raise UsageError("--for names no protocol; leave it out for all")
    found = perform(options_of(args), [(f"app_password.{args.action}", call)])[0]
    if args.action == "list":
        rows = [
            [one["name"], ", ".join(one["scopes"]) or "all", time.strftime("%Y-%m-%d", time.gmtime(one["created_at"]))]
            for one in found
        ]
        return emit(args, found, table(rows, ("PROGRAM", "FOR", "CREATED")))
    if args.action == "remove":
        return emit(args, found, [f"removed {found['name']}"])
    return emit(args, found, [f"password for {found['name']}, shown only now: {found['password']}"])


def _keep(args: argparse.Namespace) -> int:
    """Which secrets an account has."""
    kinds = args.kinds.split(",") if args.kinds not in ("none", "default") else []
    call = {"address": args.address, "kinds": kinds, "default": args.kinds == "default"}
    found = perform(options_of(args), [("user.keep", call)])[0]
    kept = ", ".join(found["keep"]) if found["keep"] is not None else "as the site says"
    return emit(args, found, [f"secrets of {found['address']}: {kept or 'none'}"])


def _limits(args: argparse.Namespace) -> int:
    """Set those that are named."""
    call = {"address": args.address, "quota": args.quota, "max_in": args.max_in, "max_out": args.max_out}
    found = perform(options_of(args), [("user.limits", call)])[0]
    return emit(args, found, [f"{found['address']}: {_told(found)}"])


def _told(found: dict[str, Any]) -> str:
    """Limits in words."""
    names = {"quota": "quota", "max_in": "largest message to it", "max_out": "largest from it"}
    words = {None: "as the site says"}
    return ", ".join(f"{text} {words.get(found[name], found[name])}" for name, text in names.items())


def _show(args: argparse.Namespace) -> int:
    """All about one account."""
    found = perform(options_of(args), [("user.show", {"address": args.address})])[0]
    lines = [
        f"{found['address']} (number {found['id']}, {'enabled' if found['enabled'] else 'disabled'})",
        f"made            {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(found['created_at']))} UTC",
        f"may not use     {', '.join(found['denied']) or '(nothing)'}",
        f"limits          {_told(found)}",
    ]
    if found["octets"] is not None:
        lines.append(f"holds           {found['messages']} messages, {found['octets']} octets")
    return emit(args, found, lines)


def _permission(args: argparse.Namespace) -> int:
    """deny, allow."""
    found = perform(options_of(args), [(args.operation, {"address": args.address, "what": args.what})])[0]
    return emit(args, found, [f"{found['address']} may not use: {', '.join(found['denied']) or '(nothing)'}"])


def _alias_add(args: argparse.Namespace) -> int:
    """One alias."""
    call = ("alias.add", {"address": args.address, "targets": args.targets})
    added = perform(options_of(args), [call])[0]
    return emit(args, added, [f"{added['address']} -> {', '.join(added['targets'])}"])


def _alias_list(args: argparse.Namespace) -> int:
    """A table of aliases."""
    aliases = perform(options_of(args), [("alias.list", {})])[0]
    rows = [[alias["address"], ", ".join(alias["targets"])] for alias in aliases]
    return emit(args, aliases, table(rows, ("ADDRESS", "TARGETS")))


def _alias_remove(args: argparse.Namespace) -> int:
    """One alias."""
    removed = perform(options_of(args), [("alias.remove", {"address": args.address})])[0]
    return emit(args, removed, [f"removed {removed['address']}"])
