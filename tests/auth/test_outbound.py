"""Logging in at other servers (S-108..S-112): which mechanism, and when mail must not go out at all."""

from __future__ import annotations

import pytest

from mailsrv.auth.outbound import OutboundLogin, choose
from mailsrv.errors import Refused
from mailsrv.wire.ntlm import Ntlm
from mailsrv.wire.sasl import mechanisms

EVERY = [*mechanisms().values(), Ntlm()]
WINDOWS = ("NTLM", "LOGIN")
MODERN = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2")
BINDING = ("tls-exporter",)


def chosen(
    method: str, offered: tuple[str, ...], *, secure: bool = True, bindings: tuple[str, ...] = (), **more: object
) -> str:
    """The name of the mechanism; "" for none."""
    more.setdefault("password", "secret")
    login = OutboundLogin(method, "me@example.org", **more)  # type: ignore[arg-type]
    found = choose(EVERY, offered, login, bindings, secure=secure)
    return "" if found is None else str(found.name)


def test_s108_by_default_mail_is_sent_as_nobody() -> None:
    assert OutboundLogin().method == "anonymous"
    assert chosen("anonymous", MODERN) == "" == chosen("anonymous", ())


def test_s109_basic_is_plain_or_login() -> None:
    assert chosen("basic", MODERN) == "PLAIN"
    assert chosen("basic", ("LOGIN", "NTLM")) == "LOGIN"
    assert chosen("basic", ("login",)) == "LOGIN"


def test_s109_a_password_is_not_shown_without_tls_unless_that_is_wanted() -> None:
    with pytest.raises(Refused, match="clear text only") as caught:
        chosen("basic", MODERN, secure=False)
    assert caught.value.status == "5.7.11"
    assert chosen("basic", MODERN, secure=False, plain=True) == "PLAIN"


def test_s110_integrated_is_ntlm_with_and_without_tls() -> None:
    assert chosen("ntlm", WINDOWS) == "NTLM" == chosen("ntlm", WINDOWS, secure=False)


def test_any_sasl_is_the_strongest_that_both_know() -> None:
    assert chosen("sasl", MODERN, bindings=BINDING) == "SCRAM-SHA-256-PLUS"
    assert chosen("sasl", MODERN) == "SCRAM-SHA-256" == chosen("sasl", MODERN, secure=False)
    assert chosen("sasl", ("PLAIN", "CRAM-MD5")) == "CRAM-MD5"
    assert chosen("sasl", ("PLAIN",)) == "PLAIN"
    assert chosen("sasl", MODERN, password="", token="t") == "XOAUTH2"


def test_one_mechanism_by_name() -> None:
    assert chosen("cram-md5", MODERN) == "CRAM-MD5"
    with pytest.raises(Refused, match="no way to log in by scram-sha-1; it offers CRAM-MD5, "):
        chosen("scram-sha-1", MODERN)


def test_a_route_that_asks_for_a_login_never_goes_without() -> None:
    for method, offered in (("basic", ()), ("ntlm", ("PLAIN",)), ("sasl", ("GSSAPI",))):
        with pytest.raises(Refused, match="no way to log in"):
            chosen(method, offered)


def test_the_password_is_in_no_text() -> None:
    assert "hunter2" not in repr(OutboundLogin("basic", "me", "hunter2", "hunter2"))
