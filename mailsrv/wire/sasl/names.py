"""Login names (floor 1): one form for the ways people write them (S-106, decisions 33)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from ...errors import AuthenticationFailed
from ...message.domains import u_labels

#: RFC 5321 section 4.5.3.1: 64 octets of local part, 255 of domain, and what a login adds to neither.
LOGIN_OCTETS = 320

NO_DOMAINS: Mapping[str, str] = {}


def meant(login: str, login_domain: str = "", domains: Mapping[str, str] = NO_DOMAINS) -> tuple[str, str]:
    """(local part, domain) of a login: ``user@domain``, ``DOMAIN\\user``, or ``user`` in `login_domain`.

    NFC and lower case, A-labels as U-labels; the domain is "" when there is none to complete by.  A DOMAIN is looked
    up in `domains` (`AuthContext.domains`; lower case); one that is not there and is the first label of
    `login_domain` stands for it, any other is taken as it is.  Raises AuthenticationFailed for what can be nobody's
    name (empty, too long, with control characters) and for a DOMAIN that could mean several.
    """
    text = login if login.isascii() else unicodedata.normalize("NFC", login)
    if not text.isprintable() or len(text.encode("utf-8")) > LOGIN_OCTETS:
        raise AuthenticationFailed()
    default = login_domain.lower()
    local, at, domain = text.rpartition("@")
    if not at:
        prefix, slash, user = text.partition("\\")
        local, domain = (user, _windows_domain(prefix.lower(), default, domains)) if slash else (text, default)
    if not local or (at and not domain):
        raise AuthenticationFailed()
    return local.lower(), _labels(domain.lower())


def fold(name: str) -> str:
    """The form in which names are compared: NFC without case (decisions 33).

    A domain, behind "@", is in lower case: fass.example may be somebody else's than faß.example.
    """
    if name.isascii():
        return name.lower()
    local, at, domain = unicodedata.normalize("NFC", name).rpartition("@")
    if not at:
        local, domain = domain, ""
    return unicodedata.normalize("NFC", local.casefold()) + at + unicodedata.normalize("NFC", domain.lower())


def _windows_domain(prefix: str, default: str, domains: Mapping[str, str]) -> str:
    """The domain that the DOMAIN of ``DOMAIN\\user`` stands for.  Raises AuthenticationFailed."""
    known = domains.get(prefix)
    if known is None:
        return default if prefix == default.partition(".")[0] else prefix
    if not known:
        raise AuthenticationFailed()
    return known


def _labels(domain: str) -> str:
    """The domain with U-labels; one that is no IDNA name stays as it is."""
    if "xn--" not in domain:
        return domain
    try:
        return u_labels(domain)
    except UnicodeError:
        return domain
