"""Run one operation by name: JSON arguments in, a JSON answer out, never an exception (floor 4).

Who asks is checked with the authorizer, once and here: admin.NOUN.VERB on what the arguments name.
One of the three places where anything at all is caught: a bug in an operation must not end the control connection.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from ...errors import AccessDenied, MailError, Refused, TryLater
from ...values import Identity
from . import (
    access,
    alias,
    app_password,
    audit,
    auth,
    badmail,
    ban,
    certificate,
    config,
    dns,
    domain,
    event,
    mailbox,
    part,
    queue,
    server,
    server_change,
    service,
    session,
    status,
    store,
    token,
    trace,
    user,
)  # fmt: skip
from .audited import IN_PROCESS, audited, denied
from .table import OPERATIONS, Asker, End, Operation, find_operation

log = Logger()

#: Importing them filled the table.
NOUNS = (
    access, alias, app_password, audit, auth, badmail, ban, certificate, config, dns, domain, event, mailbox, part,
    queue, server, server_change, service, session, status, store, token, trace, user,
)  # fmt: skip


#: Characters of what was asked, and of why not, in the log.
MAX_LOGGED = 1000

#: Takes one item of a stream; the next is not made before it returns.
Send = Callable[[Any], Awaitable[None]]


class Abandoned(MailError):
    """The reader of a stream has left, or the server stops."""

    status = "4.3.2"
    text = "the stream was cut off"


async def run(
    site: Any,
    name: Any,
    arguments: Any = None,
    identity: Identity | None = IN_PROCESS,
    *,
    peer: str = "",
    send: Send | None = None,
) -> dict[str, Any]:
    """``{"result": ...}``, or ``{"error": text, "status": RFC 3463}`` for no.  Only cancellation passes through.

    A "warning" beside a result tells what the asker should see to.

    `identity` is who asks; None is nobody, who may do nothing; `peer` is the address of one elsewhere.  `send` takes
    the items of an operation that answers with a stream; its cancellation ends the stream.
    """
    asker = Asker(identity, peer)
    who = asker.who
    try:
        if not isinstance(name, str) or not isinstance(arguments or {}, Mapping):
            raise Refused("an operation has a name and an object of arguments")
        found = find_operation(name)
        given = found.check(arguments or {})
        if identity is not IN_PROCESS:
            await _permit(site, found, given, asker)
        answer = await audited(site, found, given, asker, lambda: _call(site, found, given, asker, send))
        shown = _line({key: value for key, value in given.items() if key not in found.secret})
        log.info("operation {operation} {arguments} by {who}: done", operation=name, arguments=shown, who=who)
        return answer
    except MailError as error:
        log.info("operation {operation} by {who}: {text}", operation=_line(name), who=who, text=_line(error))
        return {"error": str(error), "status": error.status}
    except Exception:
        incident = secrets.token_hex(4)
        log.failure(
            "operation {operation} by {who} failed: incident {incident}",
            operation=_line(name), who=who, incident=incident,
        )  # fmt: skip
        return {"error": f"internal error, incident {incident} in the log", "status": "4.3.0"}


async def _call(site: Any, operation: Operation, given: Mapping[str, Any], asker: Asker, send: Send | None) -> Any:
    """The result of an operation that may be done."""
    more = {operation.asker: asker} if operation.asker else {}
    if not operation.stream:
        return await operation.function(site, **given, **more)
    if send is None:
        raise Refused(f"{operation.name} answers with a stream, and nobody takes its items")
    return await _stream(operation.function(site, **given, **more), send)


async def _stream(items: AsyncGenerator[Any, None], send: Send) -> Any:
    """Send item by item; the result.  Raises Abandoned."""
    count = 0
    try:
        async for item in items:
            if isinstance(item, End):
                return item.result
            await send(item)
            count += 1
    except CancelledError:
        raise Abandoned() from None
    finally:
        await items.aclose()
    return {"items": count}


def _line(said: object) -> str:
    """What somebody said, as a piece of a line of the log: no control characters, not endless."""
    text = str(said)
    return "".join(sign if sign.isprintable() else "?" for sign in text[:MAX_LOGGED]) + "..." * (len(text) > MAX_LOGGED)


async def _permit(site: Any, operation: Operation, given: Mapping[str, Any], asker: Asker) -> None:
    """Raises AccessDenied, TryLater."""
    resource = operation.resource(given)
    verdict = await site.authorizer.permits(asker.identity, f"admin.{operation.name}", resource)
    if verdict.action == "tempfail":
        raise TryLater(verdict.text or None, verdict.status or None)
    if verdict.action != "accept":
        what = f"{operation.name} {resource[:MAX_LOGGED]}" if resource else f"{operation.name} on the whole site"
        why = f"{asker.who} may not {what}: {verdict.rule or verdict.text or 'denied'}"
        await denied(site, operation, given, asker, why)
        raise AccessDenied(why)


def streams(name: Any) -> bool:
    """True when the operation answers with a stream."""
    return isinstance(name, str) and name in OPERATIONS and OPERATIONS[name].stream


def needs_server(name: str) -> bool:
    """True when the operation makes no sense without a running server."""
    return name in OPERATIONS and OPERATIONS[name].running
