"""Operations with their records in the audit log (floor 4)."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.logger import Logger

from ...auth.roles import owners, unix_login
from ...errors import MailError
from ...values import Identity
from ..audit import NotAudited
from .table import ALWAYS, ONCE, Asker, Operation

log = Logger()

#: The code of this process asks: the command that holds the data folder's lock, or an embedding program.  It is not
#: checked, and known by being this very object: nothing that comes from outside can be it.
IN_PROCESS = Identity(0, "this process", mechanism="PROCESS")


async def audited(
    site: Any, operation: Operation, given: Mapping[str, Any], asker: Asker, work: Callable[[], Awaitable[Any]]
) -> dict[str, Any]:
    """``{"result": ...}`` of the work, with a "warning" when it is not in the log.

    Raises NotAudited where it must be there, what the work raises.
    """
    if not _kept(site, operation, given, asker):
        return {"result": await work()}
    who, peer = _named(asker)
    arguments = {key: value for key, value in given.items() if key not in operation.secret}
    warning, number = "", ""
    try:
        number = await site.audit.begin(operation.name, arguments, who, peer)
    except NotAudited as error:
        if not _owns(asker):
            text = f"nothing was done: {error.text}; until it can, only root and the user of the server change anything"
            raise NotAudited(text) from error
        warning = f"this is not in the audit log: {error.text}"
        log.error("{operation} by {who}: {warning}", operation=operation.name, who=who, warning=warning)
    outcome, text, changed = "failed", "", list[str]()
    try:
        result = await work()
        outcome, changed = "done", _changed(result)
    except MailError as error:
        outcome, text = "refused", str(error)
        raise
    finally:
        if number:
            site.audit.end(number, outcome, text, changed=changed)
    return {"result": result, "warning": warning} if warning else {"result": result}


def _changed(result: Any) -> list[str]:
    """The keys of the configuration that a change has changed."""
    found = [result.get(name) for name in ("applied", "restart")] if isinstance(result, Mapping) else []
    return [str(key) for keys in found if isinstance(keys, list) for key in keys]


async def denied(site: Any, operation: Operation, given: Mapping[str, Any], asker: Asker, why: str) -> None:
    """Somebody may not do that: in the log, if it would have been there."""
    if getattr(site, "audit", None) is not None and not operation.looks:
        arguments = {key: value for key, value in given.items() if key not in operation.secret}
        await site.audit.denied(operation.name, arguments, *_named(asker), why)


def _kept(site: Any, operation: Operation, given: Mapping[str, Any], asker: Asker) -> bool:
    """Whether this call is one for the log."""
    if operation.audit not in (ALWAYS, ONCE) or getattr(site, "audit", None) is None:
        return False
    if operation.audit == ALWAYS:
        return True
    return bool(site.audit.new(*_named(asker), operation.name, operation.resource(given)))


def _owns(asker: Asker) -> bool:
    """Whether that is somebody who can write the files of the site as well."""
    return asker.identity is IN_PROCESS or (asker.identity is not None and owners().has(asker.identity))


def _named(asker: Asker) -> tuple[str, str]:
    """Who, and from where."""
    if asker.identity is IN_PROCESS:
        return unix_login(os.geteuid()), "this process"
    return asker.who, asker.peer
