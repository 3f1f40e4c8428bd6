"""Every file of tests/conversations/ is a test: the text is the specification."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailsrv.testing.conversation import run_conversation

FILES = sorted((Path(__file__).parent / "conversations").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_conversation(path: Path) -> None:
    run_conversation(path)
