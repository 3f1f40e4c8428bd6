"""mailsrv mailbox ...: the mailboxes of an account, and mail moved in and out (floor 7)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from . import mailbox_sharing
from .common import DONE, NO, UsageError, emit, noun, options_of, perform, table, verb
from .mailbox_export import export
from .mailbox_import import import_into
from .mailbox_progress import Progress
from .mailbox_sources import Skipped, open_source
from .mailbox_talk import converse
from .queue import confirm

#: Skipped messages that are named one by one; more are counted.
MAX_NAMED = 1000


def add_parsers(nouns: Any) -> None:
    """The noun mailbox."""
    verbs = noun(nouns, "mailbox", "mailboxes of an account; import and export of mbox and Maildir")
    verb(verbs, "list", _list, "mailboxes with their sizes").add_argument("address")
    for name, run, text in (("create", _create, "make one, subscribed"), ("delete", _delete, "with its messages")):
        parser = verb(verbs, name, run, text)
        parser.add_argument("address")
        parser.add_argument("name")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser = _moving(verbs, "import", _import, "messages of mbox files or a Maildir; run again, it goes on")
    parser.add_argument("--format", choices=("auto", "mbox", "maildir"), default="auto")
    parser.add_argument("--into", default="", metavar="MAILBOX", help="this one, folders below it; default INBOX")
    parser.add_argument("--quoting", choices=("rd", "o", "none"), default="rd", help="of From lines in mbox files")
    parser.add_argument("--dry-run", action="store_true", help="read all of it, and tell what would be done")
    parser = _moving(verbs, "export", _export, "messages into a new Maildir or mbox files; run again, it goes on")
    parser.add_argument("--format", choices=("maildir", "mbox"), default="maildir")
    parser.add_argument("--mailbox", default="", metavar="NAME", help="this one alone")
    mailbox_sharing.add_verbs(verbs)


def _moving(verbs: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    """What import and export share."""
    parser = verb(verbs, name, run, text)
    parser.add_argument("address")
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("--journal", default="", metavar="FILE", help="where what is done is remembered")
    parser.add_argument("--progress", action="store_true", help="show progress, also where there is no terminal")
    return parser


def _list(args: argparse.Namespace) -> int:
    """A table."""
    found = perform(options_of(args), [("mailbox.list", {"address": args.address})])[0]
    rows = [
        [
            one["name"], str(one.get("messages", "-")), str(one.get("unseen", "-")), str(one.get("octets", "-")),
            "yes" if one["subscribed"] else "no", one["special_use"] or "-",
        ]
        for one in found
    ]  # fmt: skip
    return emit(args, found, table(rows, ("MAILBOX", "MESSAGES", "UNSEEN", "OCTETS", "SUBSCRIBED", "USE")))


def _create(args: argparse.Namespace) -> int:
    """Its name."""
    made = perform(options_of(args), [("mailbox.create", {"address": args.address, "name": args.name})])[0]
    return emit(args, made, [f"{made['name']} is there"])


def _delete(args: argparse.Namespace) -> int:
    """Its name."""
    if not args.yes:
        confirm(f"Delete {args.name} of {args.address} with all its messages?")
    gone = perform(options_of(args), [("mailbox.delete", {"address": args.address, "name": args.name})])[0]
    return emit(args, gone, [f"{gone['name']} is gone"])


def _import(args: argparse.Namespace) -> int:
    """How much, and what was skipped; status 1 then."""
    path = Path(args.path)
    source = open_source(path, args.format, args.quoting)
    with Progress(sys.stderr, args.progress, source.total, source.unit) as progress:
        if args.dry_run:
            found = import_into(source, None, args.address, args.into, progress)
            done = drive(found)
        else:
            journal = Path(args.journal or f"{str(path).rstrip('/')}.{args.address.replace('/', '_')}.mailsrv-import")
            options = options_of(args)
            done = converse(options, lambda: import_into(source, journal, args.address, args.into, progress))
    verb_ = "would be imported" if args.dry_run else "imported"
    lines = [f"{name}: {count}" for name, count in sorted(done["mailboxes"].items())]
    lines.append(f"{done['messages']} messages, {done['octets']} octets {verb_}; {done['before']} were there before")
    return _told(args, done, lines, "skipped")


def drive(talk: Any) -> Any:
    """The result of a conversation that asks nothing."""
    try:
        next(talk)
    except StopIteration as end:
        return end.value
    raise UsageError("a dry run asks no server")


def _export(args: argparse.Namespace) -> int:
    """How much, and what a format cannot hold."""
    options, path = options_of(args), Path(os.path.abspath(args.path))
    with Progress(sys.stderr, args.progress) as progress:
        done = converse(
            options,
            lambda: export(args.address, path, args.format, args.mailbox, args.journal, progress),
        )
    lines = [f"{name}: {count}" for name, count in sorted(done["mailboxes"].items())]
    lines.append(f"{done['messages']} messages, {done['octets']} octets exported; {done['before']} were there before")
    return _told(args, done, lines, "incomplete")


def _told(args: argparse.Namespace, done: dict[str, Any], lines: list[str], key: str) -> int:
    """The result; what went wrong goes to standard error."""
    wrong: list[Skipped] = done[key]
    status = NO if wrong else DONE
    emit(args, {**done, key: [{"what": one.what, "why": one.why} for one in wrong]}, lines)
    if not args.json:
        for one in wrong[:MAX_NAMED]:
            sys.stderr.write(f"{key}: {one.what}: {one.why}\n")
        if len(wrong) > MAX_NAMED:
            sys.stderr.write(f"{key}: {len(wrong) - MAX_NAMED} more\n")
    return status
