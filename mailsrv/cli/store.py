"""mailsrv store (floor 7)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..host.control.store import instant, verified
from ..host.restore import restore_site
from ..store.backup import verify
from .common import DONE, NO, emit, noun, options_of, perform, verb
from .mailbox_talk import Conversation, converse

#: Seconds between two looks at a backup that is under way.
EVERY = 1


def add_parsers(nouns: Any) -> None:
    """This noun."""
    verbs = noun(nouns, "store", "the message store, backup and restore")
    verb(verbs, "check", _check, "read all of it and tell what does not fit together")
    verb(verbs, "compact", _compact, "give back the disk room of expunged messages")
    parser = verb(verbs, "backup", _backup, "copy store, keys and configuration while mail comes and goes")
    parser.add_argument("directory", metavar="DIR", help="a folder for backups alone; the next one copies what is new")
    _progress(parser)
    parser = verb(verbs, "verify-backup", _verify, "read all of a backup and compare it with its checksums")
    parser.add_argument("directory", metavar="DIR")
    parser = verb(verbs, "restore", _restore, "with the server stopped: make the data folder what a backup holds")
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--into", metavar="FOLDER", help="make a new site there, with the backup's configuration")
    parser.add_argument("--force", action="store_true", help="move what is there aside; nothing is deleted")
    _progress(parser)
    parser = verb(verbs, "rescue", _rescue, "with the server stopped: make a new store from the segments alone")
    parser.add_argument("target", metavar="DIR", help="a new folder; the old store is left as it is")


def _progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--progress", action="store_true", help="tell how far it is, also where there is no terminal")


def _check(args: argparse.Namespace) -> int:
    """Problems line by line; status 1 when there are any."""
    result = perform(options_of(args), [("store.check", {})])[0]
    emit(args, result, result["problems"] or ["nothing wrong"])
    return DONE if result["ok"] else NO


def _compact(args: argparse.Namespace) -> int:
    """How much was freed."""
    result = perform(options_of(args), [("store.compact", {})])[0]
    return emit(args, result, [f"{result['octets_freed']} octets given back"])


class _Line:
    """How far something is, on one line of a terminal."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = args.progress or (self._terminal and not args.json)
        self._last = 0.0

    def show(self, text: str, octets: int, of: int) -> None:
        """At most twice a second."""
        if self._shown and time.monotonic() - self._last >= EVERY / 2:
            self._last = time.monotonic()
            line = f"{text}: {octets / 2**20:.0f} of {of / 2**20:.0f} MiB"
            sys.stderr.write(f"\r{line:<70}" if self._terminal else f"{line}\n")
            sys.stderr.flush()

    def end(self) -> None:
        """What follows is on a line of its own."""
        if self._shown and self._terminal and self._last:
            sys.stderr.write(f"\r{'':<70}\r")


def _backup(args: argparse.Namespace) -> int:
    """What was copied; status 1 when it failed."""
    line = _Line(args)

    def talk() -> Conversation:
        """Begin, then look again and again."""
        facts = yield "store.backup", {"directory": str(Path(args.directory).absolute())}
        while not facts["ended"]:
            line.show(facts["step"], facts["copied"] + facts["reused"], facts["total"])
            facts = yield "store.backup_wait", {"seconds": EVERY}
        return facts

    facts = converse(options_of(args), talk)
    line.end()
    if not facts["done"]:
        raise Refused(facts["error"])
    seconds = facts["ended"] - facts["began"]
    return emit(args, facts, [
        f"{facts['directory']}: {facts['files']} files; {facts['copied'] / 2**20:.1f} MiB copied, "
        f"{facts['reused'] / 2**20:.1f} MiB were there already; {seconds:.1f} s"
    ])  # fmt: skip


def _verify(args: argparse.Namespace) -> int:
    """Problems line by line; status 1 when there are any.  Needs neither server nor configuration."""
    result = verified(*verify(Path(args.directory)))
    octets = f"{result['octets'] / 2**20:.1f} MiB"
    what = f"a whole backup of {result['hostname']} as of {instant(result['taken'])}"
    whole = f"{what}: {result['files']} files, {octets}"
    emit(args, result, result["problems"] or [whole])
    return DONE if result["ok"] else NO


def _restore(args: argparse.Namespace) -> int:
    """What was done, line by line."""
    line = _Line(args)
    into = Path(args.into).absolute() if args.into else None
    report = restore_site(
        Path(args.directory).absolute(), None if into else options_of(args), time.time(), into=into, force=args.force,
        progress=lambda octets, of: line.show("restoring", octets, of),
    )  # fmt: skip
    line.end()
    return emit(args, {"report": report}, report)


def _rescue(args: argparse.Namespace) -> int:
    """What was found, line by line."""
    from ..store.embedded.rescue import rescue

    options = options_of(args)
    if options.store.use != "sqlite":
        raise Refused(f"the store {options.store.use!r} has no segments to read")
    target = Path(args.target)
    report = rescue(options.data, target)
    way = f"put its index.db and segments in the place of those in {options.data}, or set site.data to it"
    lines = [*report, f"the new store is in {target}: {way}"]
    return emit(args, {"target": str(target), "report": report}, lines)
