"""[tls.NAME]: certificates that servers name (floor 6; S-050, S-051)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ...parts import Place, did_you_mean, option, quoted
from .values import PATH, or_empty


@frozen
class CertificateTable:
    """[tls.NAME]: a certificate, or all those of a folder."""

    certificate: str = option(PATH, "data/tls/default.crt", "PEM file: the certificate and its chain")
    key: str = option(PATH, "data/tls/default.key", "PEM file: the private key")
    directory: str = option(
        or_empty(PATH), "",
        "instead of both: a folder that an ACME client writes to; the names of its certificates say who is shown which",
    )
    client_ca: str = option(or_empty(PATH), "", "PEM file: authorities whose clients may log in with a certificate")


def certificate_mistakes(
    tables: Mapping[str, CertificateTable], given: frozenset[tuple[str, ...]], place: Place
) -> None:
    """What contradicts itself in the tables.  Raises ConfigError."""
    for name, table in tables.items():
        for key in ("certificate", "key"):
            if table.directory and ("tls", name, key) in given:
                raise place.at("tls", name).error("a folder (directory) has all its certificates and keys in it", key)


def server_mistakes(tables: Mapping[str, CertificateTable], server: Any, place: Place) -> None:
    """What a server says of them.  Raises ConfigError."""
    for key, names in (("certificate", (server.certificate,)), ("certificates", server.certificates)):
        for name in names:
            if name not in tables:
                known = did_you_mean(name, tables) or f"; known: {quoted(tables)}"
                raise place.error(f"there is no table [tls.{name}]{known}", key)
    if server.require_strong_tls and not server.require_tls:
        raise place.error("needs require_tls = true: without TLS there is nothing to be strong", "require_strong_tls")
