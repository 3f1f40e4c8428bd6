"""What may be kept for the logins of an account: kinds of secrets, names, lengths, counts (pure).

Every directory kept in a store refuses the same things, before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import Refused

#: App passwords of one account, and characters of a name.
MAX_APP_PASSWORDS = 100
MAX_APP_NAME = 100
#: Octets of a hash, of a digest, and of the keys of one kind, in UTF-8.
MAX_KEYS = 4096
#: Kinds of secrets of one account; words of its other sets: what it is denied, scopes of an app password.
MAX_KINDS = 16
MAX_WORDS = 100

#: "scram-sha-256"
_KIND = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
#: "pop3", "smtp/submission"
_PLACE = re.compile(r"[!-~]{1,100}\Z")


def checked_keys(text: str) -> str:
    """A hash, a digest, or the keys of one kind.  Raises Refused when they are too long."""
    # Not `encode`: it fails for half a surrogate pair, which no encoding of ours makes.
    if len(text) > MAX_KEYS or not text.isascii():
        raise Refused("What is to be kept for a login is too long or not ASCII", "5.5.4")
    return text


def checked_limit(octets: int | None) -> int | None:
    """A limit of an account in octets; None: what the site says.  Raises Refused."""
    if octets is not None and not 0 <= octets < 2**62:
        raise Refused("No possible number of octets", "5.5.4")
    return octets


def checked_kinds(kinds: Iterable[str]) -> frozenset[str]:
    """Kinds of secrets.  Raises Refused."""
    return _words(kinds, MAX_KINDS, _KIND, "No possible kind of secret")


def checked_places(words: Iterable[str]) -> frozenset[str]:
    """Protocols and virtual servers.  Raises Refused."""
    return _words(words, MAX_WORDS, _PLACE, "No possible name of a protocol or a virtual server")


def checked_secrets(secrets: Mapping[str, str] | None, keep: frozenset[str] | None = None) -> dict[str, str]:
    """Kind -> keys of those that the account keeps (None: all), in order.  Raises Refused."""
    if not secrets:
        return {}
    kinds = checked_kinds(secrets)
    return kept({kind: checked_keys(secrets[kind]) for kind in sorted(kinds)}, keep)


def kept(secrets: Mapping[str, str], keep: frozenset[str] | None) -> dict[str, str]:
    """Those of the kinds in `keep`; None: all."""
    return {kind: keys for kind, keys in secrets.items() if keep is None or kind in keep}


def checked_app_password(name: str, digest: str, scopes: Iterable[str]) -> frozenset[str]:
    """The scopes of a new app password.  Raises Refused."""
    if not _named(name):
        raise Refused(f"The name of an app password is 1 to {MAX_APP_NAME} printable characters", "5.5.4")
    if not checked_keys(digest):
        raise Refused("An app password needs a digest", "5.5.4")
    return checked_places(scopes)


def check_new_name(name: str, names: Iterable[str]) -> None:
    """`names` are those that the account has.  Raises Refused."""
    taken = set(names)
    if name in taken:
        raise Refused("The account has an app password of that name", "5.3.5")
    if len(taken) >= MAX_APP_PASSWORDS:
        raise Refused(f"The account has {MAX_APP_PASSWORDS} app passwords already", "5.3.5")


def check_old_name(name: str) -> None:
    """No app password can have a name that none may be given.  Raises Refused."""
    if not _named(name):
        raise no_such_app_password()


def no_such_app_password() -> Refused:
    """What removing an unknown one raises."""
    return Refused("The account has no app password of that name", "5.5.4")


def _named(name: str) -> bool:
    return 0 < len(name) <= MAX_APP_NAME and name.isprintable()


def _words(words: Iterable[str], limit: int, form: re.Pattern[str], text: str) -> frozenset[str]:
    found = frozenset(words)
    if len(found) > limit or not all(form.match(word) for word in found):
        raise Refused(text, "5.5.4")
    return found
