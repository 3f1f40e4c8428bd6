"""Names of the configuration that are settled but not built: refused as "not in this version" (floor 4)."""

from __future__ import annotations

#: Whole tables at the top of the file.
TABLES = frozenset({"console"})

_SERVER: frozenset[str] = frozenset()

#: Keys inside tables that exist; [smtp.NAME] and the like are one level deeper.
KEYS: dict[str, frozenset[str]] = {
    "site": frozenset({"workers"}),
    "limits": frozenset({"sessions_per_user"}),
    "smtp": _SERVER,
    "imap": _SERVER,
    "pop3": _SERVER,
}
