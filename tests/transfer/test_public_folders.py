"""A whole site: mail to public folders (S-142) is routed by name and right wherever mail is routed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from house_network import House
from mail_network import delivery

from mailsrv.errors import Refused
from mailsrv.host.embed import deliver
from mailsrv.serve.public_folders import HIDDEN
from mailsrv.values import Address, Recipient

Make = Callable[..., House]
SETTINGS = delivery() + """
[smtp.lmtp]
role = "lmtp"
listen = ["127.0.0.1:24"]
[imap.default]
listen = ["127.0.0.1:0"]
public_account = "bob@home.test"
"""
OK, NO = "250 2.1.5 Recipient OK", f"550 5.7.1 {HIDDEN}"


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A site whose public folders are bob's mailboxes."""
    made = House(tmp_path, SETTINGS, monkeypatch)
    yield made
    made.close()


def bob(net: House) -> Any:
    owner = net.wait(net.site.directory.resolve(Address("bob", "home.test")))
    return net.wait(net.site.store.account(owner.account_id))


def folder(net: House, name: str, rights: str = "p", who: str = "anyone") -> int:
    """Make a public folder; its id."""
    made = net.wait(bob(net).create(name))
    net.wait(net.site.store.grant(made.mailbox_id, who, rights))
    return int(made.mailbox_id)


def held(net: House, name: str) -> int:
    """Messages in a folder."""
    return int(net.wait(bob(net).status(name)).exists)


@pytest.mark.parametrize("server", ["smtp/default", "smtp/lmtp"])
def test_s_142_smtp_and_lmtp_put_it_into_the_folder_or_refuse_the_recipient(net: House, server: str) -> None:
    folder(net, "News/Canteen")
    folder(net, "Board", "lr")
    said = net.send("x@two.test", "bob+News/Canteen@home.test", "bob+Board@home.test", name=server)
    assert said[:2] == [OK, "550 5.7.1 This public folder takes no mail from you"] and said[2].startswith("250 2.0.0")
    assert held(net, "News/Canteen") == 1 and held(net, "INBOX") == held(net, "Board") == 0


def test_of_spellings_the_exact_one_wins_and_one_that_fits_two_is_refused(net: House) -> None:
    for name in ("Sales", "sales", "Office"):
        folder(net, name)
    said = net.send("x@two.test", *(f"bob+{name}@home.test" for name in ("Sales", "SALES", "office", "OFFICE")))
    assert said[:4] == [OK, NO, OK, OK] and [held(net, name) for name in ("Sales", "sales", "Office")] == [1, 0, 1]


def test_a_name_that_no_address_holds_is_written_by_its_id_or_has_an_alias(net: House) -> None:
    long = folder(net, "Protokolle der Außenstelle/" + "x" * 100)
    net.alias("minutes", f"bob+#m{long}@home.test")
    assert net.send("x@two.test", f"bob+#m{long}@home.test")[0] == OK
    assert net.send("x@two.test", "minutes@home.test")[0] == OK
    assert held(net, "Protokolle der Außenstelle/" + "x" * 100) == 2
    # Nobody catches the mail of another folder by a name that looks like its id.
    folder(net, f"#m{long + 50}")
    assert net.send("x@two.test", f"bob+#m{long + 50}@home.test")[0] == NO


def test_what_is_typed_is_known_anew_after_a_folder_was_made_renamed_or_closed(net: House) -> None:
    first = folder(net, "Old Name")
    assert net.send("x@two.test", "bob+old_name@home.test")[0] == OK
    net.wait(bob(net).rename("Old Name", "New Name"))
    said = net.send("x@two.test", "bob+old_name@home.test", "bob+new_name@home.test", f"bob+#m{first}@home.test")
    assert said[:3] == [NO, OK, OK]
    net.wait(net.site.store.grant(first, "anyone", ""))
    assert net.send("x@two.test", "bob+New_Name@home.test")[0] == NO
    net.wait(bob(net).delete("New Name"))
    assert net.send("x@two.test", "bob+New_Name@home.test")[0] == NO


def test_rfc4314_2_rights_that_are_taken_away_count(net: House) -> None:
    made = folder(net, "News", "lrp")
    net.wait(net.site.store.grant(made, "-anyone", "p"))
    assert net.send("x@two.test", "bob+News@home.test")[0].startswith("550 5.7.1 This public folder")


def test_a_list_with_a_folder_that_is_closed_is_refused_as_a_whole(net: House) -> None:
    folder(net, "News")
    folder(net, "Board", "l")
    net.alias("open", "ann@home.test", "bob+News@home.test")
    net.alias("closed", "ann@home.test", "bob+Board@home.test")
    assert [one[:9] for one in net.send("x@two.test", "open@home.test", "closed@home.test")[:2]] == [
        "250 2.1.5", "550 5.7.1",
    ]  # fmt: skip
    assert held(net, "News") == 1 and len(net.inbox()) == 1


def test_s_120_the_quota_of_the_account_holds(net: House) -> None:
    folder(net, "News")
    net.wait(net.site.directory.set_limits(bob(net).account_id, quota=1))
    assert net.send("x@two.test", "bob+News@home.test")[-1] == "552 5.2.2 Mailbox is full"


def test_mail_of_the_site_itself_and_of_a_program_around_it_goes_the_same_way(net: House) -> None:
    folder(net, "News")
    folder(net, "Board", "l")
    net.submit(Recipient(Address("bob+News", "home.test")))
    net.wait(deliver(net.site, b"Subject: x\r\n\r\n", ["bob+news@home.test"]))
    assert held(net, "News") == 2
    with pytest.raises(Refused, match="takes no mail from you"):
        net.submit(Recipient(Address("bob+Board", "home.test")))


def test_subaddresses_of_other_accounts_catch_alls_and_aliases_of_the_account_mean_inbox(net: House) -> None:
    folder(net, "News")
    net.alias("robert", "bob@home.test")
    said = net.send("x@two.test", "ann+News@home.test", "robert+News@home.test", "bob+@home.test")
    assert said[:3] == [OK] * 3 and held(net, "News") == 0 and held(net, "INBOX") == 1
