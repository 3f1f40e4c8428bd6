"""The audit log (floor 4): who changed what."""

from __future__ import annotations

import re
from typing import Any

from ...errors import Refused
from ...parts import DURATION
from ..audit import moment
from .table import operation

#: Records of one page.
MAX_PAGE = 1000
_INSTANT = re.compile(r"\d{4}-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d+)?)?)?Z?)?)?")


@operation("audit.list")
async def list_records(
    site: Any, since: str = "", who: str = "", operation: str = "", limit: int = 100, after: str = ""
) -> dict[str, Any]:
    """Records, the newest first: since 2h, 3d ago or an instant, by somebody ("token:ci"), of "noun.verb" or "noun".

    `next` is what to say as `after` for the page behind this one, "" at the end.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Refused(f"limit: 1 to {MAX_PAGE}")
    try:
        records, following = await site.audit.page(
            since=_instant(site, since), who=who, operation=operation, limit=limit, after=after
        )
    except ValueError:
        raise Refused("after: it is not what a page gave as next") from None
    except OSError as error:
        raise Refused(f"the audit log cannot be read: {error.strerror}", "4.3.0") from error
    return {"records": records, "next": following}


def _instant(site: Any, since: str) -> str:
    """As in records.  Raises Refused."""
    if not since or _INSTANT.fullmatch(since):
        return since
    try:
        return moment(site.clock() - DURATION.read(since))
    except ValueError:
        raise Refused("since: a time such as 30m, 2h, 3d, or an instant (UTC) such as 2026-11-24T15:00") from None
