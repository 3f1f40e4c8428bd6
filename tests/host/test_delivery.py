"""What a site makes of its configuration to send mail on, and mail of its own (see also transfer/test_reports.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsrv.errors import ConfigError, NoSuchRecipient, Refused
from mailsrv.message.content import MemoryContent
from mailsrv.testing.queue_site import CONFIG, TEXT, QueueSite, path
from mailsrv.values import Address, Envelope, Recipient

ROUTE = """\
[routes."partner.example"]
host = ["relay.partner.example"]
auth = "basic"
username = "us"
"""


class Sites:
    """Makes sites in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, list[QueueSite]()

    def __call__(self, config: str = CONFIG) -> Any:
        self.made.append(QueueSite(self.folder, config))
        return self.made[-1]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Sites]:
    sites = Sites(tmp_path)
    yield sites
    for one in sites.made:
        one.close()


def submit(site: QueueSite, *to: str, sender: str = "ann@example.org", server: str = "smtp/default",
           octets: bytes = TEXT) -> str:  # fmt: skip
    envelope = Envelope(path(sender) if sender else None, tuple(Recipient(path(one)) for one in to))
    return str(site.loop.run(site.site.delivery.submit(envelope, MemoryContent(octets), server)))


def stored(site: QueueSite) -> bytes:
    """The message of the only row that waits."""
    (row,) = site.rows()
    content = site.loop.run(site.queue.queue_content(row))
    octets: bytes = site.loop.run(content.read(0, content.size))
    return octets


# ---------------------------------------------------------------- mail of our own


def test_mail_of_our_own_is_local_and_says_so(make: Sites) -> None:
    site = make()
    assert submit(site, "bob@dest.example", "cid@dest.example", server="smtp/out")
    (row,) = site.rows()
    assert (row.origin, row.server, row.destination) == ("local", "smtp/out", "dest.example")
    assert [str(one.address) for one in row.recipients] == ["bob@dest.example", "cid@dest.example"]
    lines = stored(site).split(b"\r\n")
    assert lines[0] == b"Return-Path: <ann@example.org>" and b" with LOCAL" in b" ".join(lines[1:4])
    assert stored(site).endswith(TEXT)


def test_a_return_path_of_before_is_not_kept(make: Sites) -> None:
    site = make()
    submit(site, "bob@dest.example", octets=b"Return-Path: <old@example.com>\r\n" + TEXT)
    assert stored(site).lower().count(b"return-path:") == 1 and b"old@" not in stored(site)


@pytest.mark.parametrize("to", [("nobody@example.org",), ("bob@dest.example", "nobody@example.org"), ()])
def test_one_recipient_that_has_no_way_refuses_the_whole(make: Sites, to: tuple[str, ...]) -> None:
    site = make()
    with pytest.raises(NoSuchRecipient):
        submit(site, *to)
    assert site.rows() == []


def test_s_081_mail_of_a_server_that_is_gone_is_returned_by_the_first_one(make: Sites) -> None:
    site = make()
    submit(site, "bob@dest.example", sender="joe@far.example", server="smtp/gone",
           octets=b"Received: by x\r\n" * 31 + TEXT)  # fmt: skip
    (row,) = site.rows()
    assert row.reverse_path is None and [str(one.address) for one in row.recipients] == ["joe@far.example"]
    assert b"maximum hop count" in stored(site)
    # One of the server's own limit (S-082) may have more, or fewer.
    short = make(CONFIG.replace('[smtp.default]', '[smtp.default]\nmax_hops = 10', 1))
    with pytest.raises(Refused, match="maximum hop count"):
        submit(short, "bob@dest.example", sender="", octets=b"Received: by x\r\n" * 11 + TEXT)
    assert submit(short, "bob@dest.example", server="smtp/out", octets=b"Received: by x\r\n" * 11 + TEXT)


# ---------------------------------------------------------------- from the configuration


def test_the_password_of_a_route_comes_from_a_file_or_the_environment(
    make: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = make.folder / "partner"
    secret.write_text("Dull-Otter-1150\n")
    secret.chmod(0o600)
    monkeypatch.setenv("PARTNER", "Calm-Heron-2231")
    for line, password in (("password_file = 'partner'", "Dull-Otter-1150"), ("password_env = 'PARTNER'",
                                                                             "Calm-Heron-2231")):  # fmt: skip
        site = make(CONFIG + ROUTE + line + "\n")
        rule = site.site.delivery.lanes["smtp/default"].routes.rule("partner.example")
        assert (rule.login.username, rule.login.password) == ("us", password)
        assert password not in repr(rule)


def test_a_password_that_is_not_there_keeps_the_site_from_starting(
    make: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTNER", raising=False)
    with pytest.raises(ConfigError, match="the environment has no PARTNER"):
        make(CONFIG + ROUTE + "password_env = 'PARTNER'\n")


def test_s_126_the_address_of_copies_is_the_servers_own(make: Sites) -> None:
    site = make(CONFIG + '[smtp.default.delivery]\nndr_copy = "help@example.com"\n')
    lanes = site.site.delivery.lanes
    assert lanes["smtp/default"].copy_to == Address("help", "example.com") and lanes["smtp/out"].copy_to is None


def test_s_133_a_server_without_the_host_forwards_nothing(make: Sites) -> None:
    site = make(CONFIG + '[smtp.default.delivery]\nforward_unresolved = "old.example"\n')
    delivery = site.site.delivery
    assert delivery.unresolved("smtp/default") == "unresolved:smtp/default"
    assert delivery.unresolved("smtp/out") == "" == delivery.unresolved("smtp/gone")


def test_how_the_site_knows_itself(make: Sites) -> None:
    """By names, and by the addresses it listens on; the loopback interface is its own, but in a test bed."""
    own = make().site.delivery._own()
    assert own.names == {"mail.example.org"} and own.addresses == frozenset() and own.loopback
    inside = CONFIG.replace('"*:25"', '"127.0.0.1:25"').replace('"*:587", "*:465/tls"', '"[::1]:587"')
    bed = make(inside + 'listen = ["127.0.0.1:143"]\n')
    assert not bed.site.delivery._own().loopback
