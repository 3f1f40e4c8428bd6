"""S-147: a server that does not list the public folders does not look at them either."""

from __future__ import annotations

from typing import Any

from mailsrv.testing.bed import Bed

FOLDERS = 300


def looked_at(line: bytes, **settings: Any) -> tuple[int, int]:
    """(names in the answer, shared mailboxes that the store was asked for) of one LIST."""
    bed = Bed(public_account="you@example.org", **settings)
    public = bed.loop.run(bed.store.account(bed.accounts["you"]))
    for number in range(FOLDERS):
        made = bed.loop.run(public.create(f"News/{number}"))
        bed.loop.run(bed.store.grant(made.mailbox_id, "anyone", "lr"))
    asked: list[int] = []
    granted = bed.store.granted

    async def counted(*arguments: Any, **keywords: Any) -> Any:
        found = await granted(*arguments, **keywords)
        asked.append(len(found))
        return found

    bed.store.granted = counted  # type: ignore[method-assign]
    client = bed.connect("imap")
    client.send(b"l LOGIN me secret\r\n")
    bed.settle()
    client.take()
    client.send(line)
    bed.settle()
    return client.take().count(b"* LIST "), sum(asked)


def test_s147_listing_is_faster_without_them() -> None:
    # Two levels above them do not exist for the user, who has no rights there, and are told of.
    assert looked_at(b'a LIST "" "*"\r\n') == (6 + FOLDERS + 2, FOLDERS)
    assert looked_at(b'a LIST "" "*"\r\n', public_folders=False) == (6, 0)


def test_s146_who_names_them_has_them() -> None:
    assert looked_at(b'a LIST "" "Public Folders/*"\r\n', public_folders=False) == (FOLDERS + 1, FOLDERS)
