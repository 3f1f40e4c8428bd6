"""Every IMAP conversation once more, over a store that never answers at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from imap_doubles import SlowStore

from mailsrv.testing.bed import Bed
from mailsrv.testing.conversation import run_conversation

FILES = sorted((Path(__file__).parent.parent / "conversations").glob("imap-*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_conversation_with_a_slow_store(path: Path) -> None:
    bed = Bed()
    bed.store = SlowStore(bed.store, bed.clock)  # type: ignore[assignment]
    run_conversation(path, bed)
