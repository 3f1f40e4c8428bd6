"""The IMAP4 commands (floor 1): one row each; a new command is a row here and a reader in `imap_arguments`.

RFC 3501, with UIDPLUS (4315), MOVE (6851), NAMESPACE (2342), IDLE (2177), ID (2971), ENABLE (5161),
UNSELECT (3691), SASL-IR (4959), CONDSTORE and QRESYNC (7162), UNAUTHENTICATE (8437).  What a command
does to the flow of octets is its row's `then`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from attrs import frozen

from . import imap_arguments as arguments
from . import imap_list as mailbox_lists
from . import imap_notify, imap_sort
from . import imap_requests as r
from . import imap_sharing as sharing
from .imap_lexer import PLAIN, BadSyntax, Form, Lexer
from .imap_query import UnknownCharset

#: The states of RFC 3501 section 3, as the session sets them on the engine.
NOT_AUTHENTICATED, AUTHENTICATED, SELECTED, LOGOUT = "not authenticated", "authenticated", "selected", "logout"
#: Synonym of NOT_AUTHENTICATED: the greeting is not yet out.
GREETING = "greeting"

_BEFORE = frozenset({GREETING, NOT_AUTHENTICATED})
_AFTER = frozenset({AUTHENTICATED, SELECTED})
_SELECTED = frozenset({SELECTED})
_ANY = _BEFORE | _AFTER
_WRONG_STATE = {_BEFORE: "Already authenticated", _AFTER: "Not authenticated", _SELECTED: "No mailbox selected"}

_HEAD = re.compile(rb"([\x21\x23\x24\x26\x27\x2c-\x5b\x5d-\x7a\x7c-\x7e]++) ([A-Za-z]++)(?= |\Z)").match
_TAG = re.compile(rb"[\x21\x23\x24\x26\x27\x2c-\x5b\x5d-\x7a\x7c-\x7e]++(?= |\Z)").match
_WORD = re.compile(rb" ([A-Za-z]++)(?= |\Z)").match


@frozen
class Row:
    """One command.  `then` is "" or how the octets after it are to be read: auth, tls, closed, append."""

    name: str
    states: frozenset[str]
    read: Callable[[Lexer], tuple[Any, ...]]
    request: Callable[..., Any]
    then: str = ""


ROWS = (
    Row("CAPABILITY", _ANY, arguments.nothing, r.Simple),
    Row("NOOP", _ANY, arguments.nothing, r.Simple),
    Row("LOGOUT", _ANY, arguments.nothing, r.Simple, "closed"),
    Row("ID", _ANY, arguments.identification, r.Id),
    Row("STARTTLS", _BEFORE, arguments.nothing, r.Simple, "tls"),
    Row("AUTHENTICATE", _BEFORE, arguments.authenticate, r.Authenticate, "auth"),
    Row("LOGIN", _BEFORE, arguments.login, r.Login),
    Row("ENABLE", _AFTER, arguments.enable, r.Enable),
    Row("UNAUTHENTICATE", _AFTER, arguments.nothing, r.Simple),
    Row("COMPRESS", _AFTER, arguments.mechanism, r.Compress),
    Row("SELECT", _AFTER, arguments.select, r.Select),
    Row("EXAMINE", _AFTER, arguments.select, r.Select),
    Row("CREATE", _AFTER, mailbox_lists.create, r.Create),
    Row("DELETE", _AFTER, arguments.mailbox, r.Named),
    Row("RENAME", _AFTER, arguments.two_mailboxes, r.Rename),
    Row("SUBSCRIBE", _AFTER, arguments.mailbox, r.Named),
    Row("UNSUBSCRIBE", _AFTER, arguments.mailbox, r.Named),
    Row("LIST", _AFTER, mailbox_lists.list_mailboxes, r.List),
    Row("LSUB", _AFTER, mailbox_lists.list_subscribed, r.List),
    Row("NAMESPACE", _AFTER, arguments.nothing, r.Simple),
    Row("STATUS", _AFTER, mailbox_lists.status, r.Status),
    Row("GETQUOTA", _AFTER, mailbox_lists.quota_root, r.Quota),
    Row("GETQUOTAROOT", _AFTER, arguments.mailbox, r.Named),
    Row("SETQUOTA", _AFTER, mailbox_lists.quota_limits, r.Quota),
    Row("GETMETADATA", _AFTER, sharing.get_metadata, r.GetMetadata),
    Row("SETMETADATA", _AFTER, sharing.set_metadata, r.SetMetadata),
    Row("GETACL", _AFTER, arguments.mailbox, r.Named),
    Row("SETACL", _AFTER, sharing.set_rights, r.SetAcl),
    Row("DELETEACL", _AFTER, sharing.identifier, r.Acl),
    Row("LISTRIGHTS", _AFTER, sharing.identifier, r.Acl),
    Row("MYRIGHTS", _AFTER, arguments.mailbox, r.Named),
    Row("APPEND", _AFTER, arguments.mailbox, r.Append, "append"),
    Row("REPLACE", _SELECTED, arguments.nothing, r.Replace, "append"),
    Row("UID REPLACE", _SELECTED, arguments.nothing, r.Replace, "append"),
    Row("NOTIFY", _AFTER, imap_notify.notify, r.Notify),
    Row("IDLE", _AFTER, arguments.nothing, r.Simple),
    Row("CHECK", _SELECTED, arguments.nothing, r.Simple),
    Row("CLOSE", _SELECTED, arguments.nothing, r.Simple),
    Row("UNSELECT", _SELECTED, arguments.nothing, r.Simple),
    Row("EXPUNGE", _SELECTED, arguments.nothing, r.Simple),
    Row("UID EXPUNGE", _SELECTED, arguments.number_set, r.UidExpunge),
    Row("SEARCH", _SELECTED, arguments.search, r.Search),
    Row("UID SEARCH", _SELECTED, arguments.search, r.Search),
    Row("SORT", _SELECTED, imap_sort.sort, r.Sort),
    Row("UID SORT", _SELECTED, imap_sort.sort, r.Sort),
    Row("THREAD", _SELECTED, imap_sort.thread, r.Thread),
    Row("UID THREAD", _SELECTED, imap_sort.thread, r.Thread),
    Row("FETCH", _SELECTED, arguments.fetch, r.Fetch),
    Row("UID FETCH", _SELECTED, arguments.fetch, r.Fetch),
    Row("STORE", _SELECTED, arguments.store, r.Store),
    Row("UID STORE", _SELECTED, arguments.store, r.Store),
    Row("COPY", _SELECTED, arguments.copy, r.Copy),
    Row("UID COPY", _SELECTED, arguments.copy, r.Copy),
    Row("MOVE", _SELECTED, arguments.copy, r.Copy),
    Row("UID MOVE", _SELECTED, arguments.copy, r.Copy),
)
_BY_NAME = {row.name.encode("ascii"): row for row in ROWS}


class NoCommand(BadSyntax):
    """No command of this state begins here; `tag` is None when not even the tag can be arguments."""

    def __init__(self, tag: bytes | None, text: str) -> None:
        super().__init__(text)
        self.tag = tag


def tag_of(text: bytes) -> bytes | None:
    """The tag, None when there is none to answer to."""
    found = _TAG(text)
    return found[0] if found else None


def find(text: bytes, state: str) -> tuple[bytes, Row, int]:
    """(tag, row, position behind the command's name).  Raises NoCommand."""
    found = _HEAD(text)
    if found is None:
        tag = tag_of(text)
        raise NoCommand(tag, "Command expected" if tag else "Tag expected")
    tag, name = found[1], found[2].upper()
    at = found.end()
    if name == b"UID":
        second = _WORD(text, at)
        if second is not None:
            name = b"UID " + second[1].upper()
            at = second.end()
    row = _BY_NAME.get(name)
    if row is None:
        raise NoCommand(tag, "Unknown command")
    if state not in row.states:
        raise NoCommand(tag, _WRONG_STATE.get(row.states, "Command not possible now"))
    return tag, row, at


def _literal8s(text: bytes, literals: list[bytes]) -> bool:
    """Whether all literals with a NUL are written as those that may have it (RFC 3516 section 7)."""
    before = text.split(b"\0")
    return all(b"\0" not in literal or before[at].endswith(b" ~") for at, literal in enumerate(literals))


def read(text: bytes, state: str, literals: list[bytes], max_depth: int, form: Form = PLAIN) -> tuple[Any, str]:
    """(event, the row's `then`) of a whole command; (Invalid or BadCharset, "") of one that is none.

    `text`, `literals` and `form` as in `imap_lexer`.
    """
    tag = None
    try:
        tag, row, at = find(text, state)
        if row.then == "append":
            # The engine would have begun a conversation at the message's literal.
            raise BadSyntax("Message literal expected")
        if literals and any(b"\0" in literal for literal in literals) and not _literal8s(text, literals):
            raise BadSyntax("NUL in a literal")
        lexer = Lexer(text, at, literals, max_depth, form)
        request = row.request(tag, row.name, *row.read(lexer))
        if lexer.spelled:
            request.spelled = lexer.spelled
        return request, row.then
    except UnknownCharset as error:
        return r.BadCharset(tag or b"", row.name, error.saving), ""
    except NoCommand as error:
        return r.Invalid(error.tag, error.text), ""
    except BadSyntax as error:
        return r.Invalid(tag, error.text), ""
