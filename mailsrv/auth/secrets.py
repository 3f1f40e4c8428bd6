"""What is kept besides a password hash, so that a client can prove to know the password without showing it (floor 2b).

Each kind is made by the module of its mechanism.  SCRAM keys take a dictionary attack to turn into a password; an NT
hash and the state of CRAM-MD5 are as good as the password to whoever steals them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from hmac import compare_digest
from typing import Any

from ..errors import Refused
from ..parts import TEXTS, Kind, did_you_mean, quoted
from ..wire import ntlm
from ..wire.sasl import cram_md5, scram_keys
from .hashing import PasswordHasher, normal

Random = Callable[[int], bytes]

#: Kind -> what makes it of (password, random).
MAKERS: Mapping[str, Callable[[str, Random], str]] = {
    "scram-sha-256": partial(scram_keys.keep, "sha256"),
    "scram-sha-1": partial(scram_keys.keep, "sha1"),
    "cram-md5": lambda password, random: cram_md5.keep(password),
    "ntlm": lambda password, random: ntlm.keep(password),
}
KINDS = tuple(MAKERS)
#: The password itself, for APOP: of those who keep it anyway.
PLAIN = "plain"


def _kinds_of(known: tuple[str, ...]) -> Kind:
    """A list of kinds, each once."""

    def read(value: Any) -> tuple[str, ...]:
        kinds = TEXTS.read(value)
        for kind in kinds:
            if kind not in known:
                raise ValueError(f"must be of {quoted(known)}, not {kind!r}{did_you_mean(kind, known)}")
        return tuple(dict.fromkeys(kinds))

    return Kind(" | ".join(known), read)


#: How the configuration names kinds of secrets: those that can be made, and those that may be found elsewhere.
KIND_LIST = _kinds_of(KINDS)
FOUND_LIST = _kinds_of((*KINDS, PLAIN))


async def make_secrets(
    hasher: PasswordHasher, kinds: Iterable[str], password: str, random: Random
) -> dict[str, str]:
    """Encoded secrets of these kinds, as `IAccountAdmin` keeps them; made in the pool of the hashes.

    A password that a mechanism has no form for (RFC 4013: prohibited signs) has no secrets of that kind.  Raises
    TryLater, and Refused for a password that is no Unicode text.
    """
    wanted = tuple(kinds)
    normal(password)
    made: dict[str, str] = await hasher.run(_make, wanted, password, random) if wanted else {}
    return made


def same_secrets(kept: str, shown: str) -> bool:
    """Whether what is kept now is what was handed out; nothing is like nothing."""
    return bool(kept) and compare_digest(kept.encode("utf-8"), shown.encode("utf-8"))


def _make(kinds: Iterable[str], password: str, random: Random) -> dict[str, str]:
    """In a thread: what `make_secrets` gives."""
    made = {}
    for kind in kinds:
        with suppress(Refused):
            made[kind] = MAKERS[kind](password, random)
    return made
