"""mailsrv domain, part, status (floor 7)."""

from __future__ import annotations

import argparse
from typing import Any

from ..host.control.part import installed
from .common import emit, noun, options_of, perform, table, verb
from .dns import add_records


def add_parsers(nouns: Any) -> None:
    """These nouns."""
    verbs = noun(nouns, "domain", "local mail domains")
    verb(verbs, "list", _domains, "the local domains")
    for name, text in (("add", "make a domain local"), ("remove", "give a domain up; its accounts stay, unreachable")):
        parser = verb(verbs, name, _domain_change, text)
        parser.add_argument("domain")
        parser.set_defaults(operation=f"domain.{name}")
    add_records(verbs)
    verbs = noun(nouns, "part", "installed parts")
    verb(verbs, "list", _parts, "every part that the configuration can name")
    verb(nouns, "status", _status, "the running server")


def _domains(args: argparse.Namespace) -> int:
    """A table."""
    domains = perform(options_of(args), [("domain.list", {})])[0]
    rows = [[one["domain"], one["kind"], str(one["accounts"])] for one in domains]
    return emit(args, domains, table(rows, ("DOMAIN", "KIND", "ACCOUNTS")))


def _domain_change(args: argparse.Namespace) -> int:
    """add, remove."""
    result = perform(options_of(args), [(args.operation, {"domain": args.domain})])[0]
    lines = [f"local domains: {', '.join(result['domains'])}"]
    if result.get("unreachable_accounts"):
        lines.append(f"{result['unreachable_accounts']} accounts of {result['domain']} cannot be reached any more")
    return emit(args, result, lines)


def _parts(args: argparse.Namespace) -> int:
    """A table; needs neither server nor store."""
    parts = installed()
    rows = [
        [one["contract"], one["name"], ", ".join(one.get("options", ())) or "-", one.get("error") or one["source"]]
        for one in parts
    ]
    return emit(args, parts, table(rows, ("CONTRACT", "NAME", "OPTIONS", "SOURCE")))


def _status(args: argparse.Namespace) -> int:
    """Key by key."""
    facts = perform(options_of(args), [("site.status", {})])[0]
    lines = [f"{key}: {value}" for key, value in facts.items() if not isinstance(value, dict)]
    reasons = {name: f" ({reason})" for name, reason in facts["reasons"].items()}
    lines += [f"{name}: {state}{reasons.get(name, '')}" for name, state in facts["servers"].items()]
    for name, one in facts["listeners"].items():
        where = ", ".join(one["addresses"] or one["bindings"])
        lines.append(f"{name}: " + (f"stopped ({one['trouble']})" if one["trouble"] else f"running ({where})"))
    return emit(args, facts, lines)
