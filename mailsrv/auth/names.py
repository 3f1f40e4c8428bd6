"""Login names (floor 2b): one form for the ways people write them (S-106, decisions 33)."""

from __future__ import annotations

import unicodedata

from ..errors import AuthenticationFailed
from ..values import Address

#: RFC 5321 section 4.5.3.1: 64 octets of local part, 255 of domain, and what a login adds to neither.
LOGIN_OCTETS = 320


def login_address(login: str, login_domain: str = "") -> Address:
    """The address that a login name means: ``user@domain``, ``DOMAIN\\user``, or ``user`` in `login_domain`.

    NFC and lower case, A-labels as U-labels; `domain` is "" when there is none to complete by.  A DOMAIN that is
    the first label of `login_domain` stands for it, any other is taken as it is.  Raises AuthenticationFailed for
    what can be nobody's name: empty, too long, with control characters.
    """
    text = login if login.isascii() else unicodedata.normalize("NFC", login)
    if not text.isprintable() or len(text.encode("utf-8")) > LOGIN_OCTETS:
        raise AuthenticationFailed()
    default = login_domain.lower()
    local, at, domain = text.rpartition("@")
    if not at:
        prefix, slash, user = text.partition("\\")
        local, domain = (user, prefix) if slash else (text, default)
        if slash and prefix.lower() == default.partition(".")[0]:
            domain = default
    if not local or (at and not domain):
        raise AuthenticationFailed()
    return Address(local.lower(), _labels(domain.lower()))


def _labels(domain: str) -> str:
    """The domain with U-labels; one that is no IDNA name stays as it is."""
    if "xn--" not in domain:
        return domain
    try:
        return domain.encode("ascii").decode("idna")
    except UnicodeError:
        return domain


def may_act_as(authzid: str, login_domain: str, *names: str) -> bool:
    """Whether the identity asked for (RFC 4616 authzid) is empty or one of these names of the same account."""
    return not authzid or str(login_address(authzid, login_domain)) in names
