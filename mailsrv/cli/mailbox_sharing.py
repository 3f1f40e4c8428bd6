"""mailsrv mailbox rights|annotation|server-annotation ...: who may do what, and what is annotated (floor 7)."""

from __future__ import annotations

import argparse
from typing import Any

from .common import emit, noun, options_of, perform, table, verb


def add_verbs(verbs: Any) -> None:
    """Below the noun mailbox."""
    below = noun(verbs, "rights", "who may do what with a mailbox: ACL of IMAP4")
    _mailbox(verb(below, "list", _rights, "of all users but the owner, who may do all"))
    parser = _mailbox(verb(below, "set", _grant, "what a user may do"))
    parser.add_argument("user", metavar="USER", help='NAME@DOMAIN or anyone; "-" before it takes away')
    parser.add_argument("rights", metavar="RIGHTS", help='letters of lrswipkxtea; "+" or "-" before them changes')
    parser = _mailbox(verb(below, "remove", _revoke, "forget a user"))
    parser.add_argument("user", metavar="USER")
    _annotation(noun(verbs, "annotation", "what is annotated to a mailbox: METADATA of IMAP4"), True)
    _annotation(noun(verbs, "server-annotation", "what is annotated to the server, for all users"), False)


def _mailbox(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("address", metavar="NAME@DOMAIN", help="whose mailbox")
    parser.add_argument("name", metavar="MAILBOX")
    return parser


def _annotation(below: Any, of_mailbox: bool) -> None:
    """The same verbs for both."""
    parsers = [
        verb(below, "list", _annotations, "all of them"),
        verb(below, "set", _annotate, "one of them"),
        verb(below, "remove", _unannotate, "one of them"),
    ]
    for parser in parsers:
        if of_mailbox:
            _mailbox(parser)
        else:
            parser.set_defaults(address="", name="")
    for parser in parsers[1:]:
        parser.add_argument("entry", metavar="ENTRY", help="/shared/..., or /private/... of the owner")
    parsers[1].add_argument("value", metavar="VALUE")


def _ask(args: argparse.Namespace, operation: str, *more: str) -> Any:
    """The result of an operation on the mailbox."""
    arguments = {key: getattr(args, key) for key in ("address", "name", *more)}
    return perform(options_of(args), [(operation, arguments)])[0]


def _rights(args: argparse.Namespace) -> int:
    """A table."""
    found = _ask(args, "mailbox.rights")
    return emit(args, found, table([[one["user"], one["rights"]] for one in found["rights"]], ("USER", "RIGHTS")))


def _grant(args: argparse.Namespace) -> int:
    """What the user may do now."""
    done = _ask(args, "mailbox.grant", "user", "rights")
    return emit(args, done, [f"{done['user']}: {done['rights'] or 'nothing'}"])


def _revoke(args: argparse.Namespace) -> int:
    """Who is forgotten."""
    done = _ask(args, "mailbox.revoke", "user")
    return emit(args, done, [f"{done['user']}: nothing"])


def _annotations(args: argparse.Namespace) -> int:
    """A table; octets that are no text as base64."""
    found = _ask(args, "mailbox.annotations")
    rows = [[one["entry"], one.get("value", f"base64:{one.get('base64')}")] for one in found["annotations"]]
    return emit(args, found, table(rows, ("ENTRY", "VALUE")))


def _annotate(args: argparse.Namespace) -> int:
    """Its name."""
    done = _ask(args, "mailbox.annotate", "entry", "value")
    return emit(args, done, [f"{done['entry']} is set"])


def _unannotate(args: argparse.Namespace) -> int:
    """Its name."""
    done = _ask(args, "mailbox.unannotate", "entry")
    return emit(args, done, [f"{done['entry']} is gone"])
