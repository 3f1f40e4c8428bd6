"""What is kept besides a password hash, so that a client can prove to know the password without showing it (floor 2b).

Each kind is made by the module of its mechanism.  SCRAM keys take a dictionary attack to turn into a password; an NT
hash and the state of CRAM-MD5 are as good as the password to whoever steals them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from ..errors import Refused
from ..parts import TEXTS, Kind, did_you_mean, named, quoted
from .hashing import PasswordHasher, normal

#: Kind -> the function of its mechanism that makes it, by dotted name, the hash it is asked for ("": it has one), and
#: whether it wants `random(n)`.
MAKERS: Mapping[str, tuple[str, str, bool]] = {
    "scram-sha-256": ("mailsrv.wire.sasl.scram:keep", "sha256", True),
    "scram-sha-1": ("mailsrv.wire.sasl.scram:keep", "sha1", True),
    "cram-md5": ("mailsrv.wire.sasl.cram_md5:keep", "", False),
    "ntlm": ("mailsrv.wire.ntlm:keep", "", False),
}
KINDS = tuple(MAKERS)

Random = Callable[[int], bytes]


def _read_kinds(value: Any) -> tuple[str, ...]:
    """A list of kinds, each once."""
    kinds = TEXTS.read(value)
    for kind in kinds:
        if kind not in MAKERS:
            raise ValueError(f"must be of {quoted(KINDS)}, not {kind!r}{did_you_mean(kind, KINDS)}")
    return tuple(dict.fromkeys(kinds))


#: How the configuration names kinds of secrets.
KIND_LIST = Kind(" | ".join(KINDS), _read_kinds)


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


def _make(kinds: Iterable[str], password: str, random: Random) -> dict[str, str]:
    """In a thread: what `make_secrets` gives."""
    made = {}
    for kind in kinds:
        path, hash_name, salted = MAKERS[kind]
        function = named(path)
        before, after = (hash_name,) if hash_name else (), (random,) if salted else ()
        with suppress(Refused):
            made[kind] = function(*before, password, *after)
    return made
