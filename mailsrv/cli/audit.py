"""mailsrv audit, mailsrv token (floor 7; S-028)."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .common import emit, noun, options_of, perform, table, verb

#: Characters of an outcome in the table.
MAX_OUTCOME = 60


def add_parsers(nouns: Any) -> None:
    """These nouns."""
    verbs = noun(nouns, "audit", "who changed what")
    parser = verb(verbs, "list", _audit, "records of the audit log, the newest first")
    parser.add_argument("--since", default="", metavar="WHEN", help="2h, 3d, or an instant (UTC): 2026-11-24T15:00")
    parser.add_argument("--who", default="", metavar="NAME", help="by unix:anna, token:ci")
    parser.add_argument("--operation", default="", metavar="NOUN[.VERB]", help="of this kind")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="100 by default, at most 1000")
    parser.add_argument("--after", default="", metavar="PLACE", help="the next page, as the page before says")
    verbs = noun(nouns, "token", "tokens for commands from other machines")
    verb(verbs, "list", _tokens, "names, roles, until when")
    parser = verb(verbs, "create", _create, "a new token, which is shown once")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--role", required=True, help="administrator, operator, auditor, or one of the configuration")
    parser.add_argument("--expires", default="", metavar="TIME", help="90d, 12h; default: never")
    verb(verbs, "revoke", _revoke, "end a token").add_argument("name", metavar="NAME")


def _audit(args: argparse.Namespace) -> int:
    """A table."""
    call = {name: getattr(args, name) for name in ("since", "who", "operation", "limit", "after")}
    found = perform(options_of(args), [("audit.list", call)])[0]
    rows = [
        [one["at"][:19].replace("T", " "), one["who"], one.get("peer", "-"), one["operation"],
         _short(one["outcome"] + (f": {one['text']}" if "text" in one else "")), _what(one)]
        for one in found["records"]
    ]  # fmt: skip
    lines = table(rows, ("WHEN (UTC)", "WHO", "FROM", "OPERATION", "OUTCOME", "WHAT"))
    lines += [f"there is more: --after {found['next']}"] if found["next"] else []
    return emit(args, found, lines)


def _short(text: str) -> str:
    """So much that a line of the table can be read; --json has all."""
    return text if len(text) <= MAX_OUTCOME else text[: MAX_OUTCOME - 3] + "..."


def _what(record: dict[str, Any]) -> str:
    """Arguments and facts in one line."""
    said = {**record.get("arguments", {}), **record.get("facts", {}), "changed": record.get("changed")}
    kept = {name: value for name, value in said.items() if value not in ("", [], None)}
    return " ".join(f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in kept.items())


def _tokens(args: argparse.Namespace) -> int:
    """A table."""
    tokens = perform(options_of(args), [("token.list", {})])[0]
    rows = [[one["name"], one["role"], one["created"], _until(one), one["by"]] for one in tokens]
    return emit(args, tokens, table(rows, ("NAME", "ROLE", "CREATED", "EXPIRES", "BY")))


def _until(token: dict[str, Any]) -> str:
    """When it ends."""
    return token["expires"] + ("" if token["good"] else " (expired)") if token["expires"] else "never"


def _create(args: argparse.Namespace) -> int:
    """The token alone on its line, so that it can go into a file."""
    call = {"name": args.name, "role": args.role, "expires": args.expires}
    made = perform(options_of(args), [("token.create", call)])[0]
    return emit(args, made, [made["token"]])


def _revoke(args: argparse.Namespace) -> int:
    """What was ended."""
    gone = perform(options_of(args), [("token.revoke", {"name": args.name})])[0]
    return emit(args, gone, [f"{gone['name']} is no token any more"])
