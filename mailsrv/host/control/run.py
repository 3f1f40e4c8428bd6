"""Run one operation by name: JSON arguments in, a JSON answer out, never an exception (floor 4).

One of the three places where anything at all is caught: a bug in an operation must not end the control connection.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from ...errors import MailError, Refused
from . import alias, domain, part, server, session, status, store, user
from .table import OPERATIONS, find_operation

log = Logger()

#: Importing them filled the table.
NOUNS = (alias, domain, part, server, session, status, store, user)


async def run(site: Any, name: Any, arguments: Any = None) -> dict[str, Any]:
    """``{"result": ...}``, or ``{"error": text, "status": RFC 3463}`` for no.  Only cancellation passes through."""
    try:
        if not isinstance(name, str) or not isinstance(arguments or {}, Mapping):
            raise Refused("an operation has a name and an object of arguments")
        found = find_operation(name)
        given = found.check(arguments or {})
        result = await found.function(site, **given)
        shown = {key: value for key, value in given.items() if key not in found.secret}
        log.info("operation {operation} {arguments}: done", operation=name, arguments=shown)
        return {"result": result}
    except MailError as error:
        log.info("operation {operation}: {text}", operation=name, text=str(error))
        return {"error": str(error), "status": error.status}
    except Exception:
        incident = secrets.token_hex(4)
        log.failure("operation {operation} failed: incident {incident}", operation=name, incident=incident)
        return {"error": f"internal error, incident {incident} in the log", "status": "4.3.0"}


def needs_server(name: str) -> bool:
    """True when the operation makes no sense without a running server."""
    return name in OPERATIONS and OPERATIONS[name].running
