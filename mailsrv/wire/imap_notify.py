"""Arguments of NOTIFY (floor 1; RFC 5465 section 8)."""

from __future__ import annotations

import re
from typing import Any

from . import imap_names
from .imap_fetch_items import fetch_items
from .imap_lexer import BadSyntax, Lexer
from .imap_requests import EventGroup, FetchItem

#: Groups of one command, names in one group, events of one group.
MAX_GROUPS, MAX_NAMES, MAX_EVENTS = 50, 1000, 50
_FILTERS = frozenset({"SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED", "SUBTREE", "MAILBOXES"})
_MESSAGES = frozenset({"MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE", "ANNOTATIONCHANGE"})
_STATUS = re.compile(rb"STATUS ", re.IGNORECASE).match
_OPEN, _SPACE = b"( "


def notify(lexer: Lexer) -> tuple[Any, ...]:
    """SP "NONE", or SP "SET" [SP "STATUS"] 1*(SP event-group).  Raises BadSyntax."""
    lexer.space()
    kind = lexer.word()
    if kind == "NONE":
        lexer.end()
        return None, False
    if kind != "SET":
        raise BadSyntax("SET or NONE expected")
    lexer.space()
    status = _STATUS(lexer.text, lexer.at)
    if status is not None:
        lexer.at = status.end()
    groups = [_group(lexer)]
    while lexer.accept(_SPACE):
        groups.append(_group(lexer))
        if len(groups) > MAX_GROUPS:
            raise BadSyntax("Too many event groups")
    lexer.end()
    if sum(group.filter.startswith("SELECTED") for group in groups) > 1:
        raise BadSyntax("The selected mailbox twice")
    return tuple(groups), status is not None


def _group(lexer: Lexer) -> EventGroup:
    lexer.open()
    name = lexer.word()
    if name not in _FILTERS:
        raise BadSyntax("Unknown mailbox filter")
    lexer.space()
    names: tuple[str, ...] = ()
    if name in ("SUBTREE", "MAILBOXES"):
        names = _names(lexer)
        lexer.space()
    events: dict[str, str] = {}
    items: tuple[FetchItem, ...] = ()
    if lexer.peek() == _OPEN:
        events, items = _events(lexer)
    elif lexer.word() != "NONE":
        raise BadSyntax("List of events expected")
    lexer.close()
    _check(name, events)
    return EventGroup(name, names, events, items)


def _names(lexer: Lexer) -> tuple[str, ...]:
    if lexer.peek() != _OPEN:
        return (imap_names.decode(lexer.astring(), lexer.form),)
    lexer.open()
    out = [imap_names.decode(lexer.astring(), lexer.form)]
    while lexer.more():
        out.append(imap_names.decode(lexer.astring(), lexer.form))
        if len(out) > MAX_NAMES:
            raise BadSyntax("Too many mailboxes")
    return tuple(out)


def _events(lexer: Lexer) -> tuple[dict[str, str], tuple[FetchItem, ...]]:
    """Events in upper case, with their spelling, and what is to be fetched of new messages."""
    found: dict[str, str] = {}
    items: tuple[FetchItem, ...] = ()
    lexer.open()
    while True:
        spelled = lexer.atom().decode("ascii")
        event = spelled.upper()
        if event in found:
            raise BadSyntax("The same event twice")
        found[event] = spelled
        if event == "MESSAGENEW" and lexer.text[lexer.at : lexer.at + 2] == b" (":
            lexer.at += 1
            items = fetch_items(lexer)
        if len(found) > MAX_EVENTS:
            raise BadSyntax("Too many events")
        if not lexer.more():
            return found, items


def _check(name: str, events: dict[str, str]) -> None:
    """Section 5: new and expunged messages go together, and the others need them; section 6.1: of the selected
    mailbox only messages."""
    if ("MESSAGENEW" in events) != ("MESSAGEEXPUNGE" in events):
        raise BadSyntax("MessageNew and MessageExpunge go together")
    if events.keys() & {"FLAGCHANGE", "ANNOTATIONCHANGE"} and "MESSAGENEW" not in events:
        raise BadSyntax("FlagChange needs MessageNew and MessageExpunge")
    if name.startswith("SELECTED") and not events.keys() <= _MESSAGES:
        raise BadSyntax("Only events of messages for the selected mailbox")
