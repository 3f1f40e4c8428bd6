"""The log of `twistd mailsrv` has Twisted's lines."""

from __future__ import annotations

import json
import os
import re
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

from mailsrv.host.logs import JsonLines, Lines, json_terminal, logger_for, terminal
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


def test_lines_of_one_turn_are_one_write_and_nothing_is_lost_at_the_end(tmp_path: Path) -> None:
    program = (
        "import sys, threading\n"
        "from twisted.internet import reactor\n"
        "from twisted.logger import Logger\n"
        "from mailsrv.host.logs import Lines, Turns\n"
        "class File:\n"
        "    def write(self, text): print([line.split('] ')[1] for line in text.splitlines()])\n"
        "    def flush(self): sys.stdout.flush()\n"
        "log = Logger('mailsrv.c', observer=Turns(File(), Lines().line))\n"
        "say = lambda text: log.info('{text}', text=text)\n"
        "say('before')\n"
        "def first():\n"
        "    say('one'); say('two')\n"
        "    reactor.callLater(0.01, second)\n"
        "def second():\n"
        "    say('three'); log.error('{text}', text='an error'); say('four')\n"
        "    thread = threading.Thread(target=say, args=['of a thread'])\n"
        "    thread.start(); thread.join()\n"
        "    reactor.callLater(0.01, third)\n"
        "def third():\n"
        "    thread = threading.Thread(target=say, args=['alone'])\n"
        "    thread.start(); thread.join()\n"
        "    reactor.stop(); say('last')\n"
        "reactor.callLater(0, first)\n"
        "reactor.run()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=20, check=True, stdout=subprocess.PIPE)
    assert ran.stdout.decode().splitlines() == [
        "['before']", "['one', 'two']", "['three', 'an error']", "['four', 'of a thread']", "['alone']",
        "['last']",
    ]


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


def test_a_line_of_json_has_the_fields_of_its_event(capsys: pytest.CaptureFixture[str]) -> None:
    log = Logger("mailsrv.d", observer=json_terminal())
    log.info("{text}", text="message m1 accepted\non two lines", id="m1", server="smtp/default", octets=7)
    log.warn("{peer} is late", peer=ValueError("x"))
    try:
        raise ValueError("why")
    except ValueError:
        log.failure("it broke")
    first, second, third = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "info", "logger": "mailsrv.d", "text": "message m1 accepted\non two lines", "id": "m1",
        "server": "smtp/default", "octets": 7,
    }
    assert second["level"] == "warn" and second["text"] == "x is late" and second["peer"] == "x"
    assert third["level"] == "critical" and "ValueError: why" in third["traceback"]


@pytest.mark.parametrize(("nodaemon", "name"), [(True, "json_terminal"), (False, "json_usual_file")])
def test_the_configuration_says_that_lines_are_json(tmp_path: Path, nodaemon: bool, name: str) -> None:
    (tmp_path / "mailsrv.toml").write_text('[log]\nformat = "json"\n')
    options = Options()
    options["config"] = str(tmp_path / "mailsrv.toml")
    options.parent = {"nodaemon": nodaemon}  # type: ignore[assignment]
    options.postOptions()
    assert options.parent["logger"] == f"mailsrv.host.logs.{name}"
    options.parent = {"nodaemon": True, "logfile": "mail.log"}  # type: ignore[assignment]
    with pytest.raises(UsageError, match="--logfile"):
        options.postOptions()


_VALUES = st.one_of(st.none(), st.text(), st.binary(), st.floats(), st.integers())


@given(st.dictionaries(st.text(max_size=9), _VALUES, max_size=4))
def test_whatever_an_event_holds_is_one_line(event: dict[str, Any]) -> None:
    event |= {"log_format": "x", "log_time": 1.0}
    line = JsonLines().line(event)
    assert line is not None and line.endswith("}\n") and line.count("\n") == 1 and json.loads(line)["text"] == "x"


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
