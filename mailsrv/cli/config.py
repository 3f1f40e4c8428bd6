"""mailsrv check, mailsrv config ... (floor 7)."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Refused
from ..host.config.load import load
from ..host.config.options import SiteOptions
from ..host.config.profiles import toml
from ..host.config.show import flatten
from ..net.tls import Certificate
from ..parts import did_you_mean, dotted
from .common import DONE, NO, emit, find_config, noun, options_of, perform, verb


def add_parsers(nouns: Any) -> None:
    """The command check and the noun config."""
    parser = verb(nouns, "check", _check, "errors and warnings of a configuration, with file, line and key")
    parser.add_argument("file", nargs="?", metavar="FILE")
    verbs = noun(nouns, "config", "the effective configuration")
    verb(verbs, "show", _show, "every key with its value; those of the file are marked")
    verb(verbs, "apply", _apply, "read the file again in the running site; message formats change for new log-ins")
    verb(verbs, "get", _get, "one value").add_argument("key", metavar="KEY", help="for example smtp.default.max_hops")


def _check(args: argparse.Namespace) -> int:
    """Status 0 with warnings, 1 with an error."""
    path = Path(args.file) if args.file else find_config(args)
    try:
        options = load(path)
    except ConfigError as error:
        emit(args, {"ok": False, "errors": [_facts(error)], "warnings": []}, [f"error: {error}"])
        return NO
    warnings = [*options.warnings, *_certificates(options)]
    lines = [f"warning: {warning}" for warning in warnings]
    emit(
        args, {"ok": True, "errors": [], "warnings": [_facts(warning) for warning in warnings]},
        [*lines, f"{path}: no errors" + (f", {len(warnings)} warnings" if warnings else "")],
    )
    return DONE


def _facts(error: ConfigError) -> dict[str, Any]:
    """An error or warning for JSON."""
    return {"file": error.file, "line": error.line, "key": error.key, "text": error.text}


def _certificates(options: SiteOptions) -> list[ConfigError]:
    """Certificates that a server names and that are not there or cannot be used."""
    found = []
    for name in dict.fromkeys(server.certificate for server in options.servers.values()):
        table = options.certificates[name]
        files = options.base / table.certificate, options.base / table.key
        if all(path.exists() for path in files):
            try:
                authorities = options.base / table.client_ca if table.client_ca else None
                Certificate(*files, time.monotonic, authorities, name).check()
            except ConfigError as error:
                found.append(error)
            continue
        for key, value in (("certificate", table.certificate), ("key", table.key)):
            path = options.base / value
            if not path.exists():
                made = name == "default" and options.makes_certificate
                then = "; it is made at the start" if made else "; the servers that name it stay stopped"
                text = f"{path} is not there{then}"
                found.append(ConfigError(text, file=str(options.file), key=f"tls.{name}.{key}"))
    return found


def _show(args: argparse.Namespace) -> int:
    """TOML-like lines, or a list of objects."""
    shown = flatten(options_of(args))
    data = [{"key": dotted(one.path), "value": one.value, "given": one.given} for one in shown]
    lines = [
        f"{dotted(one.path)} = {toml(one.value)}" + ("" if one.given else "  # default") for one in shown
    ]
    return emit(args, data, lines)


def _apply(args: argparse.Namespace) -> int:
    """What changed, and when it takes effect."""
    done = perform(options_of(args), [("config.apply", {})])[0]
    lines = [f"in effect for new log-ins: {key}" for key in done["applied"]]
    lines += [f"at the next start: {key}" for key in done["restart"]]
    return emit(args, done, lines or ["the file says what is in effect"])


def _get(args: argparse.Namespace) -> int:
    """One value; a key that is none is status 1."""
    shown = {dotted(one.path): one for one in flatten(options_of(args))}
    if args.key not in shown:
        raise Refused(f'no key "{args.key}"{did_you_mean(args.key, shown)}')
    value = shown[args.key].value
    return emit(args, value, [value if isinstance(value, str) else toml(value)])
