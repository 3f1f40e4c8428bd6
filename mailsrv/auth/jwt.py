"""The authenticator `jwt`: bearer tokens that are signed JSON Web Tokens (RFC 7519), checked by local keys (floor 2b).

Nobody is asked over the network: the keys come from a file, a JSON Web Key Set or PEM, which is read again when it has
changed.  PyJWT does the cryptography; the times of a token are judged by the site's clock.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import NOTHING, field, frozen
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import AuthenticationFailed, ConfigError
from ..interfaces import IAuthenticator
from ..parts import DURATION, FLAG, TEXT, TEXTS, Kind, did_you_mean, option, quoted
from ..values import Address, AuthContext, Credentials, Identity
from .accounts import Accounts
from .names import login_address
from .passwd_file import LOOK_SECONDS, stamp_of

log = Logger()

#: Octets of a token and of the file of keys, and how many keys are taken from it.
MAX_TOKEN, MAX_FILE, MAX_KEYS = 8 * 2**10, 2**20, 32
#: Signatures whose key can be public.
ASYMMETRIC = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA",
)  # fmt: skip
SYMMETRIC = ("HS256", "HS384", "HS512")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)


def _read_algorithms(value: Any) -> tuple[str, ...]:
    """A list of names of signature algorithms."""
    names: tuple[str, ...] = TEXTS.read(value)
    known = ASYMMETRIC + SYMMETRIC
    for name in names:
        if name not in known:
            raise ValueError(f"must be of {quoted(known)}, not {name!r}{did_you_mean(name, known)}")
    if not names:
        raise ValueError("must name at least one")
    return names


@frozen
class Options:
    """[auth.jwt]"""

    keys: str = option(TEXT, NOTHING, "file of public keys: a JSON Web Key Set, or PEM")
    issuer: str = option(TEXT, NOTHING, "who must have issued a token (iss); others are left to other authenticators")
    audience: str = option(TEXT, NOTHING, "for whom a token must be (aud)")
    claim: str = option(TEXT, "email", "the claim that names the account")
    algorithms: tuple[str, ...] = option(
        Kind("list of algorithms", _read_algorithms), ASYMMETRIC,
        "signatures that are taken; default: all whose key is public",
    )  # fmt: skip
    leeway: float = option(DURATION, 30.0, "clocks may differ by so much")
    create: bool = option(FLAG, False, "whoever a token names gets an account at the first login")


@frozen
class Key:
    """A key of the file: `id` is its kid or "", `algorithms` those it can check, `material` the library's key."""

    id: str
    algorithms: frozenset[str]
    material: Any = field(repr=False)


@implementer(IAuthenticator)
class JwtAuthenticator:
    """Checks tokens by `keys`, a function that gives the `Key` objects of now."""

    schemes = frozenset({"token"})

    def __init__(self, keys: Callable[[], Sequence[Key]], accounts: Accounts, options: Options) -> None:
        self._keys, self._accounts, self._options = keys, accounts, options
        self._library = library()

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator; None for what is no such token, or is by another issuer."""
        token = credentials.token
        if len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
            return None
        try:
            parts = self._library.api_jwt.decode_complete(token, options={"verify_signature": False})
        except (self._library.PyJWTError, ValueError, RecursionError):
            return None
        if parts["payload"].get("iss") != self._options.issuer:
            return None
        claims = self._checked(token, parts["header"])
        self._judge_times(claims, context.now())
        address = self._named(claims, context)
        await self._match(credentials.username, address, context)
        return await self._accounts.identity(address, credentials)

    def _checked(self, token: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """The claims of a token that one of the keys has signed.  Raises AuthenticationFailed."""
        options, algorithm, kid = self._options, header.get("alg"), header.get("kid")
        if algorithm not in options.algorithms:
            raise AuthenticationFailed()
        for key in self._keys():
            if algorithm in key.algorithms and kid in (None, "", key.id or kid):
                try:
                    claims: Mapping[str, Any] = self._library.decode(
                        token, key.material, [algorithm],
                        audience=options.audience, issuer=options.issuer, options=_CHECKS,
                    )  # fmt: skip
                    return claims
                except self._library.InvalidSignatureError:
                    continue
                except (self._library.PyJWTError, ValueError, TypeError, RecursionError):
                    break
        raise AuthenticationFailed()

    def _judge_times(self, claims: Mapping[str, Any], now: float) -> None:
        """RFC 7519 sections 4.1.4 and 4.1.5; a token without an end is refused.  Raises AuthenticationFailed."""
        ends: Any = claims.get("exp")
        begins, leeway = claims.get("nbf", now), self._options.leeway
        if not (_is_number(ends) and _is_number(begins) and begins - leeway <= now < ends + leeway):
            raise AuthenticationFailed()

    def _named(self, claims: Mapping[str, Any], context: AuthContext) -> Address:
        """The address that the claim names.  Raises AuthenticationFailed."""
        name = claims.get(self._options.claim)
        # An address that the issuer has not verified can be anybody's (OpenID Connect Core section 5.1).
        unverified = self._options.claim == "email" and claims.get("email_verified", True) is not True
        if not isinstance(name, str) or unverified:
            raise AuthenticationFailed()
        return login_address(name, context.login_domain, context.domains)

    async def _match(self, username: str, address: Address, context: AuthContext) -> None:
        """Who the client says it is must be who the token names.  Raises AuthenticationFailed."""
        if username and login_address(username, context.login_domain, context.domains) != address:
            raise AuthenticationFailed()


#: What PyJWT checks; the times are ours.
_CHECKS = {
    "require": ["exp", "iss", "aud"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": True,
    "verify_iss": True,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class KeyFile:
    """The keys of a file, read again when it has changed; one that cannot be read leaves those that were known."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path, self._monotonic = path, monotonic
        self._keys, self._stamp = read_keys(path), stamp_of(os.stat(path))
        self._look_at = monotonic() + LOOK_SECONDS

    def __call__(self) -> Sequence[Key]:
        """The keys of now."""
        if self._monotonic() >= self._look_at:
            self._look_at = self._monotonic() + LOOK_SECONDS
            try:
                stamp = stamp_of(os.stat(self._path))
                if stamp != self._stamp:
                    # Noted first: what cannot be read is not tried again until it changes.
                    self._stamp = stamp
                    self._keys = read_keys(self._path)
            except (OSError, ConfigError) as error:
                log.error("the keys stay as they were known: {reason}", reason=str(error))
        return self._keys


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a JSON Web Key Set (RFC 7517), or of PEM: public keys and certificates.  Raises ConfigError."""
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", key="auth.jwt.keys") from error
    if len(octets) > MAX_FILE:
        raise ConfigError(f"{path} is larger than {MAX_FILE} octets", key="auth.jwt.keys")
    try:
        keys = _from_pem(octets) if b"-----BEGIN " in octets else _from_set(octets)
    except (ValueError, TypeError, RecursionError, library().PyJWTError) as error:
        # The library's words may cite the key.
        reason = type(error).__name__
        raise ConfigError(f"{path} holds no keys that can be used: {reason}", key="auth.jwt.keys") from None
    if not 0 < len(keys) <= MAX_KEYS:
        raise ConfigError(f"{path} must hold 1 to {MAX_KEYS} keys, not {len(keys)}", key="auth.jwt.keys")
    return keys


def _from_set(octets: bytes) -> tuple[Key, ...]:
    table = json.loads(octets)
    entries = table.get("keys") if isinstance(table, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("no JSON Web Key Set")
    return tuple(_key(entry) for entry in entries[: MAX_KEYS + 1] if entry.get("use", "sig") == "sig")


def _from_pem(octets: bytes) -> tuple[Key, ...]:
    """Every block; a private key has no business here and is refused."""
    serialization = import_module("cryptography.hazmat.primitives.serialization")
    x509 = import_module("cryptography.x509")
    keys = []
    for block in list(_PEM.finditer(octets))[: MAX_KEYS + 1]:
        if block[1] == b"CERTIFICATE":
            public = x509.load_pem_x509_certificate(block[0]).public_key()
        else:
            public = serialization.load_pem_public_key(block[0])
        keys.append(_key(_jwk_of(public)))
    return tuple(keys)


def _jwk_of(public: Any) -> dict[str, Any]:
    algorithms = import_module("jwt.algorithms")
    for name in ("RSAAlgorithm", "ECAlgorithm", "OKPAlgorithm"):
        try:
            entry: dict[str, Any] = getattr(algorithms, name).to_jwk(public, as_dict=True)
        except (TypeError, AttributeError, library().InvalidKeyError):
            continue
        return entry
    raise ValueError("a key of another kind")


#: (kty, crv) -> the algorithms such a key can check.
_ALGORITHMS = {
    ("RSA", ""): ASYMMETRIC[:6],
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("EC", "secp256k1"): ("ES256K",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
    ("oct", ""): SYMMETRIC,
}


def _key(entry: Mapping[str, Any]) -> Key:
    """Raises ValueError for a key that nothing can be checked with; its own alg narrows what it is good for."""
    usable = frozenset(_ALGORITHMS.get((entry.get("kty", ""), entry.get("crv", "")), ()))
    if entry.get("alg"):
        usable &= {entry["alg"]}
    if not usable:
        raise ValueError("a key of an unknown kind")
    return Key(str(entry.get("kid", "")), usable, library().PyJWK(dict(entry), algorithm=min(usable)).key)


def library() -> Any:
    """PyJWT.  Raises ConfigError with what to install."""
    try:
        return import_module("jwt")
    except ImportError as error:
        raise ConfigError('needs PyJWT: pip install "mailsrv[oauth]"', key="auth.jwt") from error


def build(options: Options, site: Any) -> JwtAuthenticator:
    """The part; `site` has `directory`, `base` and `monotonic`.  Raises ConfigError."""
    library()
    try:
        accounts = Accounts(site.directory, options.create)
    except ConfigError as error:
        raise ConfigError(error.text, key="auth.jwt.create") from error
    return JwtAuthenticator(KeyFile(Path(site.base) / options.keys, site.monotonic), accounts, options)
