"""Tokens for administration from elsewhere (floor 4; S-028): 256 random bits each, kept as a SHA-256 in `tokens.json`.

A hash without salt and work is enough for what nobody can guess or has chosen.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen
from twisted.logger import Logger

from ..auth.roles import TOKEN
from ..errors import Refused
from ..values import Identity
from .config.edit import write_atomically

log = Logger()

#: How each begins, so that one is known for what it is wherever it turns up.
PREFIX = "mailsrv_"
#: Tokens of a site, characters of one, octets of their file.
MAX_TOKENS, MAX_TOKEN, MAX_FILE = 1000, 100, 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@frozen
class Token:
    """One token, without itself: instants are UTC epoch seconds, `expires` 0 for never; `by` is who has made it."""

    name: str
    role: str
    digest: str = field(repr=False)
    created: float
    expires: float = 0.0
    by: str = ""

    @property
    def identity(self) -> Identity:
        """Who asks with it."""
        return Identity(0, f"token:{self.name}", mechanism=TOKEN, scopes=frozenset({f"role:{self.role}"}))


class Tokens:
    """Those of one site.  `revoked` is called with the name of one that is gone."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path, self._clock = path, clock
        self._tokens: dict[str, Token] = {}
        self._broken = ""
        self.revoked: Callable[[str], None] = lambda name: None
        try:
            self._tokens = _read(path)
        except (OSError, ValueError, TypeError) as error:
            # Nobody gets in, and the file is left for somebody to look at.
            self._broken = f"{path} cannot be used: {getattr(error, 'strerror', None) or 'it is damaged'}"
            log.error("{reason}; no token is valid", reason=self._broken)

    def all(self) -> list[Token]:
        """Every token, also those that have expired."""
        return list(self._tokens.values())

    def create(self, name: str, role: str, seconds: float = 0.0, by: str = "") -> str:
        """A new token, which is told once.  Raises Refused, ConfigError when it cannot be kept."""
        if not _NAME.fullmatch(name):
            raise Refused('the name of a token is letters, digits, ".", "-" and "_", at most 64')
        if name in self._tokens:
            raise Refused(f"there is a token {name}; `mailsrv token revoke {name}` ends it")
        if len(self._tokens) >= MAX_TOKENS:
            raise Refused(f"there are {MAX_TOKENS} tokens; revoke some")
        text = PREFIX + secrets.token_urlsafe(32)
        now = self._clock()
        made = Token(name, role, _digest(text), now, now + seconds if seconds else 0.0, by)
        self._keep({**self._tokens, name: made})
        return text

    def revoke(self, name: str) -> Token:
        """End one, and the connections that were made with it.  Raises Refused, ConfigError."""
        found = self._tokens.get(name)
        if found is None:
            raise Refused(f"there is no token {name[:MAX_TOKEN]}; `mailsrv token list` tells which there are")
        self._keep({key: token for key, token in self._tokens.items() if key != name})
        self.revoked(name)
        return found

    def find(self, text: str) -> Token | None:
        """The token that this is, while it is good."""
        digest, found = _digest(text), None
        for token in self._tokens.values():
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found if found is not None and self.good(found) else None

    def good(self, token: Token) -> bool:
        """Whether it was neither revoked nor has expired."""
        return self._tokens.get(token.name) == token and not 0 < token.expires <= self._clock()

    def _keep(self, tokens: dict[str, Token]) -> None:
        if self._broken:
            raise Refused(f"{self._broken}: mend it, or remove it, and restart")
        octets = json.dumps({"version": 1, "tokens": [asdict(token) for token in tokens.values()]}, indent=1)
        write_atomically(self._path, octets.encode("utf-8"), 0o600)
        self._tokens = tokens


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> dict[str, Token]:
    """Raises OSError, ValueError, TypeError."""
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return {}
    found: Any = json.loads(octets)
    if not isinstance(found, dict) or found.get("version") != 1 or len(octets) > MAX_FILE:
        raise ValueError("not a file of tokens")
    tokens = [Token(**one) for one in found["tokens"]] if isinstance(found.get("tokens"), list) else []
    if not all(isinstance(value, str) for one in tokens for value in (one.name, one.role, one.digest)):
        raise ValueError("not a file of tokens")
    return {token.name: token for token in tokens}


