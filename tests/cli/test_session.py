"""How the command shows sessions."""

from __future__ import annotations

from typing import Any

import pytest

from mailsrv.cli import session
from mailsrv.cli.main import parser


@pytest.mark.parametrize(("seconds", "shown"), [
    (-3.0, "0s"), (0.4, "0s"), (59.9, "59s"), (60.0, "1m00s"), (3599.0, "59m59s"), (3600.0, "1h00m"),
    (86399.0, "23h59m"), (86400.0, "1d00h"), (90000.0, "1d01h"),
])
def test_lengths_of_time_are_short(seconds: float, shown: str) -> None:
    assert session._span(seconds) == shown


def row(**changes: Any) -> dict[str, Any]:
    """A session as the operation tells of it."""
    return {"peer": "192.0.2.9", "host": "", "helo": "", "user": "", "acting_as": "", **changes}


def test_a_client_is_shown_with_the_name_that_is_its_or_the_one_it_says() -> None:
    assert session._peer(row()) == "192.0.2.9"
    assert session._peer(row(helo="i.say")) == "192.0.2.9 (i.say)"
    assert session._peer(row(helo="i.say", host="it.is")) == "192.0.2.9 it.is"
    assert session._peer(row(peer="")) == "local"


def test_who_acts_for_another_is_shown_with_both() -> None:
    assert session._user(row(user="chief@x")) == "chief@x"
    assert session._user(row(user="chief@x", acting_as="me@x")) == "chief@x as me@x"


def test_lines_of_a_transcript_have_their_time_and_side() -> None:
    assert session._said({"at": 1795537170.9, "who": "server", "text": "+OK"}) == "16:19:30 S: +OK"
    assert session._said({"lost": 7}) == "(7 lines left out)"


def test_an_id_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("show", "terminate", "transcript"):
        assert parser().parse_args(["session", verb, "7"]).id == 7
        with pytest.raises(SystemExit):
            parser().parse_args(["session", verb, "imap/default"])
    capsys.readouterr()
