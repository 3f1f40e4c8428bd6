"""mailsrv check, mailsrv config ... (floor 7)."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..host.certificate_watch import certificate_warnings
from ..host.config.explain import explained, listed, value_in
from ..host.config.load import load
from ..host.config.profiles import toml
from ..parts import DURATION
from .common import DONE, NO, UsageError, emit, find_config, noun, options_of, perform, table, verb
from .remote import RemoteSite

#: Keys of one table that are told one by one.
MAX_TOLD = 10
#: The table of a key as it is written: smtp.default, domain."a.example".
_TABLE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^."]+)(?:\.(?:"(?:[^"\\]|\\.)*"|[^."]+))?')


def add_parsers(nouns: Any) -> None:
    """The command check and the noun config."""
    parser = verb(nouns, "check", _check, "errors and warnings of a configuration, with file, line and key")
    parser.add_argument("file", nargs="?", metavar="FILE")
    verbs = noun(nouns, "config", "the configuration: read, explained, changed while the site runs, taken back")
    parser = verb(verbs, "show", _show, "every key with its value, or those of one server, page by page")
    parser.add_argument("server", nargs="?", default="", metavar="PROTOCOL/NAME")
    verb(verbs, "get", _get, "one value").add_argument("key", metavar="KEY", help="for example smtp.default.max_hops")
    verb(verbs, "explain", _explain, "what a key means, its value and where that comes from").add_argument("key")
    parser = verb(verbs, "set", _change, "set one key in the file, comments kept, and take the file up at once")
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("value", metavar="VALUE", help='as in TOML; a text needs no quotes: 30m, ["*:25"], true')
    _changing(parser, "config.set")
    parser = verb(verbs, "unset", _change, "take one key or table out of the file: its default holds")
    parser.add_argument("key", metavar="KEY")
    _changing(parser, "config.unset")
    _changing(verb(verbs, "apply", _change, "take up the file as it was edited"), "config.apply")
    parser = verb(verbs, "put", _put, "put another file in the place of the whole configuration, and take it up")
    parser.add_argument("file", metavar="FILE", help='"-": standard input')
    _changing(parser, "config.put")
    verb(verbs, "confirm", _confirm, "a change made with --confirm stays")
    parser = verb(verbs, "rollback", _change, "back to a version; without a number to the one before the last change")
    parser.add_argument("number", nargs="?", type=int, default=0, metavar="NUMBER")
    parser.set_defaults(operation="config.rollback", arguments=("number",))
    verb(verbs, "versions", _versions, "what the file was, who changed it and when")
    verb(verbs, "status", _status, "whether what the file says is in effect")


def _changing(parser: argparse.ArgumentParser, operation: str) -> None:
    """What every change can be asked with."""
    parser.add_argument(
        "--confirm", metavar="TIME", default="", help="take it back after this (60s, 10m) unless it is confirmed"
    )
    parser.add_argument("--if-version", metavar="VERSION", default="", help="only while the file is that version")
    parser.set_defaults(operation=operation, arguments=("key", "value"))


def _check(args: argparse.Namespace) -> int:
    """Status 0 with warnings, 1 with an error."""
    path = Path(args.file) if args.file else find_config(args)
    try:
        options = load(path)
    except ConfigError as error:
        emit(args, {"ok": False, "errors": [_facts(error)], "warnings": []}, [f"error: {error}"])
        return NO
    warnings = [*options.warnings, *certificate_warnings(options, options.base)]
    lines = [f"warning: {warning}" for warning in warnings]
    emit(
        args, {"ok": True, "errors": [], "warnings": [_facts(warning) for warning in warnings]},
        [*lines, f"{path}: no errors" + (f", {len(warnings)} warnings" if warnings else "")],
    )
    return DONE


def _facts(error: ConfigError) -> dict[str, Any]:
    """An error or warning for JSON."""
    return {"file": error.file, "line": error.line, "key": error.key, "text": error.text}


def _show(args: argparse.Namespace) -> int:
    """TOML-like lines, or a list of objects; of one server page by page (S-173..S-177)."""
    shown = _seen(args, lambda options: listed(options, args.server), "show", server=args.server)
    lines, page, group = list[str](), "", ""
    for one in shown:
        if args.server and one["page"] != page:
            lines += ["", f"== {one['page']}"]
        if args.server and (one["page"], one["group"]) != (page, group):
            lines.append(f"# {one['group']}")
        page, group = one["page"], one["group"]
        lines.append(f"{one['key']} = {toml(one['value'])}" + ("" if one["given"] else "  # default"))
    return emit(args, shown, lines[1:] if args.server else lines)


def _seen(args: argparse.Namespace, here: Callable[[Any], Any], verb: str, **arguments: Any) -> Any:
    """From the file, which needs no server; with --site from the site, whose file is elsewhere."""
    options = options_of(args)
    if isinstance(options, RemoteSite):
        return perform(options, [(f"config.{verb}", arguments)])[0]
    return here(options)


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of a change.  Raises UsageError."""
    given = {name: getattr(args, name) for name in args.arguments if hasattr(args, name)}
    if getattr(args, "confirm", ""):
        try:
            given["confirm"] = int(DURATION.read(args.confirm))
        except ValueError as error:
            raise UsageError(f"--confirm {error}") from None
    if getattr(args, "if_version", ""):
        given["if_version"] = args.if_version
    return given


def _change(args: argparse.Namespace) -> int:
    """What changed, and when it takes effect."""
    return _told(args, perform(options_of(args), [(args.operation, _asked(args))])[0])


def _put(args: argparse.Namespace) -> int:
    """As the others."""
    try:
        text = sys.stdin.read() if args.file == "-" else Path(args.file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(error), file=args.file) from error
    return _told(args, perform(options_of(args), [("config.put", {**_asked(args), "text": text})])[0])


def _told(args: argparse.Namespace, done: dict[str, Any]) -> int:
    """Key by key."""
    lines = [f"in effect: {key}" for key in few(done["applied"])]
    lines += [f"at the next start: {key}" for key in few(done["restart"])]
    if not lines:
        lines = ["nothing has changed"]
    lines.append(f"version {done['number']} ({done['version']})")
    for one in done["troubles"]:
        sys.stderr.write(f"mailsrv: {one}\n")
    if getattr(args, "confirm", ""):
        lines.append(f"it is taken back after {args.confirm} unless you say: mailsrv config confirm")
    return emit(args, done, lines)


def few(keys: list[str]) -> list[str]:
    """Key by key, but of a table that has come, gone or changed as a whole the table alone."""
    by_table: dict[str, list[str]] = {}
    for key in keys:
        found = _TABLE.match(key)
        by_table.setdefault(found[0] if found else key, []).append(key)
    shown = []
    for name, some in by_table.items():
        shown += some if len(some) <= MAX_TOLD else [f"{name} ({len(some)} keys)"]
    return shown


def _confirm(args: argparse.Namespace) -> int:
    """As `status`."""
    return _stands(args, perform(options_of(args), [("config.confirm", {})])[0])


def _status(args: argparse.Namespace) -> int:
    """In words."""
    return _stands(args, perform(options_of(args), [("config.status", {})])[0])


_ALONE = "no server runs; what the file says holds from the next start on"
_STATES = {
    "applied": "what the file says is in effect",
    "waiting": "these keys wait for the next start:",
    "edited": "the file was edited and not taken up (`mailsrv config apply`); these keys are not in effect:",
    "wrong": "the file cannot be taken up:",
}


def _stands(args: argparse.Namespace, facts: dict[str, Any]) -> int:
    state = _STATES[facts["state"]] if facts["running"] or facts["keys"] or "error" in facts else _ALONE
    lines = [f"{facts['file']}: version {facts['version']}", state, *facts["keys"]]
    if "error" in facts:
        lines.append(facts["error"])
    failed = facts["taking_back"]
    if failed is not None:
        lines += [
            f"a change that nobody confirmed cannot be taken back, tried {failed['tries']} times: {failed['error']}",
            f"again at {_when(failed['again'])}, unless you say: mailsrv config confirm, or config rollback NUMBER",
        ]
    elif facts["confirm_until"] is not None:
        when = _when(facts["confirm_until"])
        lines.append(f"a change is taken back at {when} unless it is confirmed: mailsrv config confirm")
    return emit(args, facts, lines)


def _when(instant: float) -> str:
    """UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(instant))


def _versions(args: argparse.Namespace) -> int:
    """A table."""
    found = perform(options_of(args), [("config.versions", {})])[0]
    rows = [
        [str(one["number"]), one["version"], _when(one["at"]), one["who"] or "-", one["what"]]
        for one in found
    ]  # fmt: skip
    return emit(args, found, table(rows, ("NUMBER", "VERSION", "AT", "WHO", "WHAT")))


def _explain(args: argparse.Namespace) -> int:
    """Line by line; needs no server."""
    facts = _seen(args, lambda options: explained(options, args.key), "explain", key=args.key)
    default = "it depends, or must be given" if facts["default"] is None else toml(facts["default"])
    lines = [
        f"{facts['key']} = {toml(facts['value'])}", f"  {facts['meaning']}", f"  kind: {facts['kind']}",
        f"  default: {default}", f"  from: {facts['origin']}", f"  a change holds {facts['effect']}",
    ]
    return emit(args, facts, lines)


def _get(args: argparse.Namespace) -> int:
    """One value; a key that is none is status 1."""
    found = _seen(args, lambda options: {"value": value_in(options, args.key)}, "get", key=args.key)
    value = found["value"]
    return emit(args, value, [value if isinstance(value, str) else toml(value)])
