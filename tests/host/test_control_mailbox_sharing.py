"""Operations on rights and annotations of mailboxes: what an administrator says is what IMAP4 clients see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailsrv.cli.main import main
from mailsrv.errors import MailError
from mailsrv.host.control.table import find_operation
from mailsrv.testing.queue_site import QueueSite
from mailsrv.values import Address

ME, YOU = "me@example.org", "you@example.org"


class Sharing:
    """A site with two accounts."""

    def __init__(self, folder: Path) -> None:
        self.made = QueueSite(folder)
        self.store = self.made.site.store
        self.ids = [self.account(local) for local in ("me", "you")]

    def account(self, local: str) -> int:
        added = self.made.site.directory.add_account(Address(local, "example.org"), "")
        return int(self.made.loop.run(added).account_id)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """The result about the INBOX, or the text of the refusal."""
        return self.run(f"mailbox.{verb}", {"address": ME, "name": "INBOX", **arguments})

    def run(self, name: str, arguments: Any) -> Any:
        """The result, or the text of the refusal."""
        found = find_operation(name)
        try:
            return self.made.loop.run(found.function(self.made.site, **found.check(arguments)))
        except MailError as error:
            return error.text


@pytest.fixture
def sharing(tmp_path: Path) -> Sharing:
    return Sharing(tmp_path)


def test_rights_are_given_changed_and_taken(sharing: Sharing) -> None:
    assert sharing.ask("rights") == {"rights": []}
    assert sharing.ask("grant", user=YOU, rights="rlc") == {"user": YOU, "rights": "lrkx"}
    assert sharing.ask("grant", user="You@Example.ORG", rights="-kx") == {"user": YOU, "rights": "lr"}
    assert sharing.ask("grant", user=YOU, rights="+s") == {"user": YOU, "rights": "lrs"}
    assert sharing.ask("grant", user="Anyone", rights="l") == {"user": "anyone", "rights": "l"}
    assert sharing.ask("grant", user="-" + YOU, rights="s") == {"user": "-" + YOU, "rights": "s"}
    grants = sharing.made.loop.run(sharing.store.grants(1))
    assert grants == {f"#{sharing.ids[1]}": "lrs", f"-#{sharing.ids[1]}": "s", "anyone": "l"}
    assert sharing.ask("rights") == {
        "rights": [
            {"user": YOU, "rights": "lrs"}, {"user": "-" + YOU, "rights": "s"}, {"user": "anyone", "rights": "l"},
        ]
    }
    assert sharing.ask("revoke", user=YOU) == {"user": YOU}
    assert sharing.ask("grant", user="-" + YOU, rights="") == {"user": "-" + YOU, "rights": ""}
    assert sharing.ask("rights") == {"rights": [{"user": "anyone", "rights": "l"}]}


REFUSED: list[tuple[dict[str, str], str]] = [
    ({"user": YOU, "rights": "lz"}, "rights are letters of lrswipkxtea"),
    ({"user": ME, "rights": "lr"}, "the owner of a mailbox has all rights"),
    ({"user": "nobody@example.org", "rights": "lr"}, "there is no account nobody@example.org"),
    ({"user": "nobody", "rights": "lr"}, "'nobody' is no address; write NAME@DOMAIN"),
    ({"user": YOU, "rights": "lr", "name": "Nowhere"}, "No such mailbox"),
    ({"user": YOU, "rights": "lr", "address": "nobody@example.org"}, "there is no account nobody@example.org"),
]


def test_rights_that_cannot_be_given_or_taken(sharing: Sharing) -> None:
    for arguments, said in REFUSED:
        assert said in sharing.ask("grant", **arguments)
    assert sharing.ask("rights") == {"rights": []}
    assert sharing.ask("revoke", user=YOU) == f"{YOU} has no rights of its own there"


def test_rfc5464_annotations_of_a_mailbox(sharing: Sharing) -> None:
    assert sharing.ask("annotate", entry="/shared/Comment", value="für alle") == {"entry": "/shared/comment"}
    assert sharing.ask("annotate", entry="/private/comment", value="mine") == {"entry": "/private/comment"}
    octets = {"/private/icon": b"\xff\0"}
    sharing.made.loop.run(sharing.store.annotate(1, sharing.ids[0], octets))
    assert sharing.ask("annotations") == {
        "annotations": [
            {"entry": "/private/comment", "value": "mine"},
            {"entry": "/private/icon", "base64": "/wA="},
            {"entry": "/shared/comment", "value": "für alle"},
        ]
    }
    assert sharing.ask("unannotate", entry="/private/comment") == {"entry": "/private/comment"}
    assert sharing.ask("unannotate", entry="/private/comment") == "there is no /private/comment"
    assert "begin with /private/ or /shared/" in sharing.ask("annotate", entry="/comment", value="x")
    assert sharing.ask("annotate", entry="/shared/x", value="\ud800") == "the value is no text"


def test_rfc5464_section_6_2_1_annotations_of_the_server_are_set_by_administrators(sharing: Sharing) -> None:
    server = {"address": "", "name": ""}
    assert sharing.ask("annotate", entry="/shared/admin", value="mailto:root@example.org", **server)
    assert sharing.ask("annotations", **server) == {
        "annotations": [{"entry": "/shared/admin", "value": "mailto:root@example.org"}]
    }
    assert "begin with /private/ or /shared/" in sharing.ask("annotate", entry="/private/x", value="x", **server)
    assert "whose mailbox is it?" in sharing.ask("annotations", address="", name="INBOX")


def test_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sharing: Sharing) -> None:
    monkeypatch.setattr("mailsrv.cli.mailbox_sharing.options_of", lambda args: None)
    monkeypatch.setattr(
        "mailsrv.cli.mailbox_sharing.perform",
        lambda options, calls: [sharing.run(name, given) for name, given in calls],
    )

    def said(*line: str) -> list[str]:
        assert main(["mailbox", *line]) == 0
        return capsys.readouterr().out.splitlines()

    assert said("rights", "list", ME, "INBOX") == ["(none)"]
    assert said("rights", "set", ME, "INBOX", YOU, "lrs") == [f"{YOU}: lrs"]
    assert said("rights", "list", ME, "INBOX") == ["USER             RIGHTS", f"{YOU}  lrs"]
    assert said("rights", "remove", ME, "INBOX", YOU) == [f"{YOU}: nothing"]
    assert said("annotation", "set", ME, "INBOX", "/shared/comment", "hi") == ["/shared/comment is set"]
    assert said("annotation", "list", ME, "INBOX") == ["ENTRY            VALUE", "/shared/comment  hi"]
    assert said("annotation", "remove", ME, "INBOX", "/shared/comment") == ["/shared/comment is gone"]
    assert said("server-annotation", "set", "/shared/comment", "ours") == ["/shared/comment is set"]
    assert said("server-annotation", "list") == ["ENTRY            VALUE", "/shared/comment  ours"]
    assert said("server-annotation", "remove", "/shared/comment") == ["/shared/comment is gone"]
