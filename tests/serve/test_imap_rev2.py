"""IMAP4rev2 (RFC 9051) is there with all of its parts; tests/conversations/imap-rev2*.txt tell how it behaves."""

from __future__ import annotations

from mailsrv.serve.imap import extensions

#: What of it had a name of its own before (appendix E).
PARTS = frozenset(
    {
        b"BINARY", b"ENABLE", b"ESEARCH", b"IDLE", b"LIST-EXTENDED", b"LIST-STATUS", b"MOVE", b"NAMESPACE", b"SASL-IR",
        b"SEARCHRES", b"SPECIAL-USE", b"STATUS=SIZE", b"UIDPLUS", b"UNSELECT",
    }
)  # fmt: skip


def test_rfc9051_appendix_e_none_of_its_parts_is_missing() -> None:
    names = {row.name for row in extensions.TABLE}
    assert b"IMAP4rev2" in names and names >= PARTS
