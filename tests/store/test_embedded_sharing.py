"""Annotations and rights in the embedded store: after a restart, after a rescue, in an older store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from embedded_tools import Bed
from test_embedded_logins import rescued, unpack

from mailsrv.store.embedded import schema


def picture(bed: Bed) -> Any:
    return (
        bed.run(bed.store.annotations(0, bed.account_id)),
        [(one.name, one.grants, bed.run(bed.store.annotations(one.mailbox_id, bed.account_id)))
         for one in bed.run(bed.store.granted(["anyone", "#77"]))],
    )


def keep(bed: Bed) -> None:
    account = bed.run(bed.store.account(bed.account_id))
    for name in ("Work", "Gone"):
        made = bed.run(account.create(name)).mailbox_id
        bed.run(bed.store.grant(made, "anyone", "lr"))
        bed.run(bed.store.grant(made, "#77", "lrs"))
        bed.run(bed.store.annotate(made, bed.account_id, {"/private/a": b"\xff\x00x", "/shared/b": b"2"}))
    bed.run(bed.store.annotate(0, bed.account_id, {"/private/c": b"3", "/private/d": b"4"}))
    bed.run(bed.store.annotate(0, bed.account_id, {"/private/d": None}))
    other = bed.add_account("leaver").account_id
    bed.run(bed.store.annotate(0, other, {"/private/c": b"5"}))
    bed.run(bed.store.directory.remove_account(other))
    bed.run(account.delete("Gone"))
    bed.run(account.rename("Work", "Office"))
    bed.run(bed.store.grant(made - 1, "#77", ""))


KEPT = (
    {"/private/c": b"3"},
    [("Office", {"anyone": "lr"}, {"/private/a": b"\xff\x00x", "/shared/b": b"2"})],
)


def test_they_are_there_after_a_restart_and_after_a_rescue(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "data", purge_after=None)
    keep(bed)
    assert picture(bed) == KEPT
    from_changes = rescued(bed.path, tmp_path / "one")
    assert picture(from_changes) == KEPT
    from_changes.close()
    bed = bed.again()
    assert picture(bed) == KEPT
    from_catalogue = rescued(bed.path, tmp_path / "two")
    assert picture(from_catalogue) == KEPT
    assert from_catalogue.store.index.rows("SELECT count(*) FROM annotation") == [(3,)]
    from_catalogue.close()
    bed.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_store_keeps_them(tmp_path: Path, version: int) -> None:
    """decisions 7: upgraded after a copy."""
    bed = Bed(unpack(version, tmp_path / "old"), purge_after=None)
    assert f"schema upgraded from {version} to {schema.VERSION}" in bed.store.report[0]
    keep(bed)
    bed = bed.again()
    assert picture(bed) == KEPT and bed.run(bed.store.check()) == []
    bed.close()
