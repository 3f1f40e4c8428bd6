"""The log of `twistd mailsrv` has Twisted's lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, formatEventAsClassicLogText
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from mailsrv.host.logs import Lines, logger_for, terminal
from mailsrv.tap import Options

_LEVELS = st.sampled_from([LogLevel.info, LogLevel.warn, LogLevel.critical])


@given(
    st.text(max_size=30), st.floats(0, 4e9), st.sampled_from(["{text}", "{text!r} and {text}", "plain", ""]), _LEVELS,
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_lines_are_those_of_twisted(text: str, when: float, form: str, level: Any, broken: bool, system: bool) -> None:
    event: dict[str, Any] = {
        "text": text, "log_time": when, "log_format": form, "log_level": level, "log_namespace": "mailsrv.a"
    }
    if broken:
        event["log_failure"] = Failure(ValueError("why"))
    if system:
        event["log_system"] = "other"
    lines = Lines()
    for offset in (0.0, 0.5, 1.0, -1.0):
        # Twisted rounds what is within a microsecond of the next second up.
        event["log_time"] = round(max(when + offset, 0.0), 3)
        assert lines.line(event) == formatEventAsClassicLogText(event)


def test_events_of_others_with_little_in_them() -> None:
    for event in ({}, {"log_format": "Hello"}, {"log_format": "x", "log_time": None}):
        assert Lines().line(event) == formatEventAsClassicLogText(event)


def test_the_terminal_gets_a_line_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Logger("mailsrv.b", observer=terminal()).info("{text}", text="one\ntwo")
    assert capsys.readouterr().out.endswith(" [mailsrv.b#info] one\n\ttwo\n")


@pytest.mark.parametrize(
    ("logfile", "nodaemon", "name"),
    [
        ("", True, "mailsrv.host.logs.terminal"),
        ("-", True, "mailsrv.host.logs.terminal"),
        ("mail.log", True, ""),
        ("", False, "mailsrv.host.logs.usual_file"),
        ("mail.log", False, ""),
        ("-", False, ""),
    ],
)
def test_where_twistd_writes_to_decides(logfile: str, nodaemon: bool, name: str) -> None:
    assert logger_for(logfile, nodaemon) == name


@pytest.mark.parametrize("own", [{"logger": "some.where"}, {"syslog": True}], ids=["logger", "syslog"])
def test_a_log_that_was_asked_for_stays(own: dict[str, Any]) -> None:
    options = Options()
    options.parent = {"nodaemon": True, **own}  # type: ignore[assignment]
    try:
        options.postOptions()
    except UsageError:
        pytest.fail("these options are good")
    assert options.parent.get("logger") == own.get("logger")


def test_a_daemon_writes_twistd_log_and_begins_a_new_one_when_told(tmp_path: Path) -> None:
    program = (
        "import os, signal\n"
        "from twisted.internet import reactor\n"
        "from twisted.logger import Logger\n"
        "from mailsrv.host.logs import usual_file\n"
        "log = Logger('mailsrv.c', observer=usual_file())\n"
        "log.info('before')\n"
        "reactor.callLater(0, os.kill, os.getpid(), signal.SIGUSR1)\n"
        "def look():\n"
        "    if not os.path.exists('twistd.log.1'):\n"
        "        return reactor.callLater(0.01, look)\n"
        "    log.info('after')\n"
        "    reactor.stop()\n"
        "reactor.callLater(0, look)\n"
        "reactor.run()\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=20, check=True, env=dict(os.environ))
    assert "before" in (tmp_path / "twistd.log.1").read_text()
    assert (tmp_path / "twistd.log").read_text().endswith("[mailsrv.c#info] after\n")
