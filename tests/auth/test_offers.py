"""What a server offers to log in with: settings x authenticators x TLS (S-098..S-107, S-143, S-151)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from zope.interface import directlyProvides

from mailsrv.auth.offers import Offers
from mailsrv.interfaces import ISecrets
from mailsrv.wire.ntlm import Ntlm
from mailsrv.wire.sasl import mechanisms

ALL = frozenset({"anonymous", "basic", "ntlm", "sasl"})
EVERY = [*mechanisms().values(), Ntlm()]


def authenticator(*schemes: str, kinds: tuple[str, ...] = ()) -> Any:
    made = SimpleNamespace(schemes=frozenset(schemes), kinds=frozenset(kinds))
    if kinds:
        directlyProvides(made, ISecrets)
    return made


def offers(*authenticators: Any, methods: frozenset[str] = ALL, **settings: bool) -> Offers:
    return Offers(EVERY, authenticators or (authenticator("password"),), methods, **settings)


def test_s100_s101_passwords_are_offered_under_tls_alone() -> None:
    made = offers()
    assert made.names(True) == ("PLAIN", "LOGIN")
    assert made.names(False) == ()
    assert made.refusal("PLAIN", False) == "tls" == made.password_refusal(False)
    assert made.password_refusal(True) == ""


def test_passwords_cross_the_wire_in_clear_text_where_the_administrator_says_so() -> None:
    assert offers(plain=True).names(False) == ("PLAIN", "LOGIN")
    assert offers(plain=True).password_refusal(False) == ""


def test_s053_nothing_at_all_before_tls_where_tls_is_required() -> None:
    keeper = authenticator("password", "secret", kinds=("ntlm", "scram-sha-256"))
    made = offers(keeper, plain=True, require_tls=True)
    assert made.names(False) == () and made.password_refusal(False) == "tls"
    assert made.refusal("NTLM", False) == "tls"
    assert made.names(True) == ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "NTLM")


@pytest.mark.parametrize(
    ("methods", "offered"),
    [
        ({"basic"}, ("PLAIN", "LOGIN")),
        ({"ntlm"}, ("NTLM",)),
        ({"sasl"}, ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "CRAM-MD5")),
        ({"anonymous"}, ("ANONYMOUS",)),
        (set(), ()),
    ],
)
def test_s098_s107_only_methods_that_are_switched_on(methods: set[str], offered: tuple[str, ...]) -> None:
    everything = authenticator(
        "password", "secret", "token", "anonymous", kinds=("ntlm", "scram-sha-256", "cram-md5")
    )
    made = offers(everything, methods=frozenset(methods))
    assert made.names(True) == offered
    assert all(made.refusal(name, True) == "off" for name in ("PLAIN", "NTLM") if name not in offered)


def test_s102_integrated_login_needs_no_tls() -> None:
    keeper = authenticator("secret", kinds=("ntlm",))
    assert offers(keeper).names(False) == ("NTLM",)


def test_a_mechanism_that_nobody_can_check_is_not_offered() -> None:
    made = offers(authenticator("secret", kinds=("scram-sha-1",)))
    assert made.names(False) == ("SCRAM-SHA-1",)
    assert made.refusal("CRAM-MD5", True) == "nobody" == made.password_refusal(True)


def test_channel_bindings_need_a_channel() -> None:
    made = offers(authenticator("secret", kinds=("scram-sha-1",)))
    assert made.refusal("SCRAM-SHA-1-PLUS", False) == "tls"
    assert made.names(True) == ("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1")


def test_external_is_offered_after_a_client_certificate_alone() -> None:
    made = offers(authenticator("certificate"))
    assert made.names(True) == () and made.refusal("EXTERNAL", True) == "certificate"
    assert made.names(True, True) == ("EXTERNAL",)
    assert made.refusal("EXTERNAL", False, True) == "tls"


def test_what_is_not_installed_is_unknown() -> None:
    assert offers().refusal("GSSAPI", True) == "unknown"
