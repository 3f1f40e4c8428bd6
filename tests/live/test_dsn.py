"""RFC 3461 between real servers, Postfix among them: success is told by who delivers, and a kill does not undo it."""

from __future__ import annotations

import signal
import smtplib
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.ports import free_ports

from .conftest import PASSWORD, Server
from .messages import REAL
from .postfix import Postfix, until
from .test_standard_library import pop3

pytestmark = pytest.mark.live

SITE = """
[site]
hostname = "mx.{name}.test"
domains = ["{name}.test"]
[auth]
use = ["any", "directory"]
[auth.any]
password_file = "password"
[access.here]
mode = "only"
list = ["127.0.0.1"]
[smtp.default]
listen = ["127.0.0.1:{port}"]
relay = "here"
[smtp.default.delivery]
retry = ["1s"]
[pop3.default]
listen = ["127.0.0.1:0/tls"]
[routes."{peer}.test"]
host = ["127.0.0.1"]
port = {peer_port}
"""


def made(folder: Path, name: str, port: int, peer: str, peer_port: int) -> Server:
    """A site with mailboxes for every name uN."""
    secret = folder / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    return Server(folder, SITE.format(name=name, port=port, peer=peer, peer_port=peer_port))


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """near.test and far.test, each with a route to the other."""
    near, far = free_ports(2)
    pair = (
        made(tmp_path_factory.mktemp("near"), "near", near, "far", far),
        made(tmp_path_factory.mktemp("far"), "far", far, "near", near),
    )
    for site in pair:
        site.start()
    yield pair
    for site in pair:
        site.stop()
        assert "Traceback" not in site.log(), site.log()


def give(site: Server, sender: str, to: str, mail: tuple[str, ...] = (), rcpt: tuple[str, ...] = ()) -> None:
    """Send a message with what is asked of it."""
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), timeout=20) as client:
        client.ehlo()
        assert client.has_extn("dsn")
        assert client.sendmail(sender, [to], REAL, ["BODY=8BITMIME", *mail], rcpt) == {}


def inbox(site: Server, user: str) -> list[bytes]:
    """All messages of somebody."""
    client = pop3(site, user)
    try:
        return [b"\r\n".join(client.retr(n + 1)[1]) + b"\r\n" for n in range(len(client.list()[1]))]
    finally:
        client.quit()


def reports(site: Server, user: str, number: int = 1) -> list[Message]:
    """The reports of somebody, as soon as there are so many: the fields of their recipients."""

    def found() -> list[Message]:
        made = [message_from_bytes(octets) for octets in inbox(site, user)]
        told = [one for one in made if one.get_content_type() == "multipart/report"]
        return told if len(told) >= number else []

    fields = [report.get_payload()[1].get_payload() for report in until(found, site.log)]  # type: ignore[union-attr,index]
    return [one for _, *each in fields for one in each]  # type: ignore[union-attr,misc]


def test_rfc_3461_success_here(sites: tuple[Server, Server]) -> None:
    near, _ = sites
    give(near, "u1@near.test", "u2@near.test", ("ENVID=one",), ("NOTIFY=SUCCESS", "ORCPT=rfc822;U2@near.test"))
    (told,) = reports(near, "u1@near.test")
    assert (told["Action"], told["Final-Recipient"]) == ("delivered", "rfc822; u2@near.test")
    assert told["Original-Recipient"] == "rfc822; U2@near.test"
    assert len(inbox(near, "u2@near.test")) == 1


def test_rfc_3461_success_there_is_told_by_who_delivers(sites: tuple[Server, Server]) -> None:
    near, far = sites
    give(near, "u3@near.test", "u3@far.test", (), ("NOTIFY=SUCCESS,FAILURE",))
    (told,) = reports(near, "u3@near.test")
    assert (told["Action"], told["Final-Recipient"]) == ("delivered", "rfc822; u3@far.test")
    assert far.log().count("for (delivered here): 1 delivered") == 1


def test_rfc_3461_a_list_of_both_is_expanded_and_nothing_more_is_told(sites: tuple[Server, Server]) -> None:
    near, far = sites
    near.command("alias", "add", "all@near.test", "u5@near.test", "u5@far.test")
    give(near, "u4@near.test", "all@near.test", (), ("NOTIFY=SUCCESS",))
    (told,) = reports(near, "u4@near.test")
    assert (told["Action"], told["Final-Recipient"]) == ("expanded", "rfc822; all@near.test")
    until(lambda: inbox(far, "u5@far.test"), far.log)
    assert len(inbox(near, "u5@near.test")) == 1 and len(reports(near, "u4@near.test")) == 1


@pytest.fixture(scope="module")
def postfix(sites: tuple[Server, Server]) -> Iterator[Postfix]:
    """It has the mailboxes of peer.test, and gives all else to near.test."""
    # Its users must reach the folder: those of pytest are their owner's alone.
    with TemporaryDirectory(prefix="mailsrv-postfix-") as folder:
        made = Postfix(Path(folder))
        try:
            made.start(f"relayhost = [127.0.0.1]:{sites[0].port('smtp/default')}\n")
            yield made
        finally:
            made.stop()


def test_rfc_3461_postfix_leaves_the_report_to_us(sites: tuple[Server, Server], postfix: Postfix) -> None:
    near, _ = sites
    with smtplib.SMTP("127.0.0.1", postfix.ports["clear"], timeout=20) as client:
        asked = ["NOTIFY=SUCCESS", "ORCPT=rfc822;u7@old.test"]
        assert client.sendmail("u6@near.test", ["u7@near.test"], REAL, ["ENVID=from+2Dpostfix"], asked) == {}
    (told,) = reports(near, "u6@near.test")
    assert (told["Action"], told["Final-Recipient"]) == ("delivered", "rfc822; u7@near.test")
    assert told["Original-Recipient"] == "rfc822; u7@old.test"
    assert any(b"Reporting-MTA: dns; mx.near.test" in octets for octets in inbox(near, "u6@near.test"))


def test_rfc_3461_we_leave_the_report_to_postfix(sites: tuple[Server, Server], postfix: Postfix) -> None:
    near, _ = sites
    near.stop()
    near.config.write_text(
        near.config.read_text() + f'[routes."peer.test"]\nhost = ["127.0.0.1"]\nport = {postfix.ports["clear"]}\n'
    )
    near.start()
    give(near, "u8@near.test", "who@peer.test", ("ENVID=ours",), ("NOTIFY=SUCCESS", "ORCPT=rfc822;who@old.test"))
    (told,) = reports(near, "u8@near.test")
    assert (told["Action"], told["Original-Recipient"]) == ("delivered", "rfc822;who@old.test")
    assert any(b"Reporting-MTA: dns; postfix.test" in octets for octets in inbox(near, "u8@near.test"))


def test_a_kill_after_250_loses_no_report_and_no_copy_is_made(tmp_path: Path) -> None:
    port, nobody = free_ports(2)
    site = made(tmp_path, "near", port, "far", nobody)
    site.start()
    try:
        for _ in range(3):
            for number in range(10):
                give(site, "u1@near.test", f"u{10 + number}@near.test", (), ("NOTIFY=SUCCESS",))
            site.stop(signal.SIGKILL)
            site.start()
        told = reports(site, "u1@near.test", 30)
        # One that was kept as its row was not yet ended may be there twice; none is missing.
        names = [one["Final-Recipient"] for one in told]
        assert all(names.count(f"rfc822; u{10 + number}@near.test") >= 3 for number in range(10)), names
        assert len(names) <= 33
        assert all(len(inbox(site, f"u{10 + number}@near.test")) == 3 for number in range(10))
        until(lambda: not site.ask("queue.list")["rows"], site.log)
    finally:
        site.stop()
    assert "Traceback" not in site.log(), site.log()
