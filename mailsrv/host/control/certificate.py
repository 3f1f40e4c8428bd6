"""Certificates (floor 6; S-048 to S-052): request, install, import, self-signed, list, assign.

Files come over the wire in base64.  A key goes in, and never out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import tomlkit
from cryptography import x509

from ...errors import Refused
from ...net.certificate import make_key, self_signed
from ...net.certificate_facts import Facts, facts_of, missing
from ...net.certificate_read import Bundle, chain_of, leaf_of, read_bundle, read_certificates
from ...parts import did_you_mean
from ..certificate_files import (
    CertificateFiles,
    advice,
    canonical,
    make_request,
    pending_of,
    put_in_place,
    requests_of,
    told,
)
from ..certificate_watch import users_of
from ..certificates import Certificates, Entry, Shelf
from ..changes import Asked
from ..config.options import SERVER_TABLES
from ..config.values import server_name
from .config import change
from .table import Asker, operation

_NONE: list[str] = []
#: Octets of a file that comes over the wire, and how many of them.
MAX_FILE, MAX_FILES = 2**20, 4


# ---------------------------------------------------------------- requests


@operation("certificate.request")
async def ask(
    site: Any, name: str, hosts: list[str] = _NONE, organization: str = "", country: str = "", key: str = "ec",
    renew: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Make a key and a certificate request for [tls.NAME], or show the one that is pending (S-048, S-052).

    `hosts`: by default those of the certificate in place, else the site's own name.  `renew` makes another in the
    place of a pending one.
    """
    files = _files_of(site, name)
    if key not in ("ec", "rsa"):
        raise Refused('the key is "ec" or "rsa"')
    if files.pending() and not renew:
        found = files.shown(True)
        if hosts and sorted(found["hosts"]) != sorted(canonical(hosts)):
            raise Refused(
                f"a request for {name} is pending, for {', '.join(found['hosts'])}: `certificate request {name}` shows "
                "it, --renew makes another, `certificate cancel` forgets it"
            )
        return found
    wanted = canonical(hosts or files.hosts() or [site.options.site.hostname])
    await site.aside(make_request, files, wanted, (organization, country.upper()), key)
    return files.shown(False)


@operation("certificate.cancel")
async def cancel(site: Any, name: str) -> dict[str, Any]:
    """Forget the pending request of [tls.NAME], and its key: a certificate for it will be worth nothing."""
    files = _files_of(site, name)
    if not files.pending():
        raise Refused(f"no request for {name} is pending")
    files.drop()
    return {"name": name}


@operation("certificate.install", secret=("file",))
async def install(site: Any, name: str, file: str, asker: Asker) -> dict[str, Any]:
    """Put the certificate that an authority made for the pending request in its place (S-049).

    `file`: PEM, DER or PKCS #7 in base64.  Without a pending request it must belong to the key in place.
    """
    files = _files_of(site, name)
    found = await site.aside(read_certificates, _octets(file))
    key, wanted = files.key_for(found)
    leaf = leaf_of(found, key)
    if leaf is None:
        where = "pending request" if files.pending() else "key in place"
        shown = "; ".join(told(one) for one in found[:3])
        raise Refused(f"none of the certificates in the file belongs to the {where} of {name}, but it holds {shown}")
    done = await _put(site, files, leaf, found, key, wanted, asker)
    files.drop()
    return done


# ---------------------------------------------------------------- from elsewhere


@operation("certificate.import", secret=("files", "password"))
async def take(site: Any, name: str, files: list[str], asker: Asker, password: str = "") -> dict[str, Any]:
    """Put a certificate with its key in place, from PEM files or PKCS #12.

    `files`: one, or certificate and key, each in base64.  `password` opens a key that is encrypted.
    """
    places = _files_of(site, name)
    if not 1 <= len(files) <= MAX_FILES:
        raise Refused(f"1 to {MAX_FILES} files can be given")
    bundles: list[Bundle] = await site.aside(
        lambda: [read_bundle(octets, password) for octets in [_octets(one) for one in files]]
    )
    keys = [bundle.key for bundle in bundles if bundle.key is not None]
    certificates = [one for bundle in bundles for one in bundle.certificates]
    if len(keys) != 1 or not certificates:
        what = "no certificate is" if not certificates else "no key is" if not keys else "more than one key is"
        raise Refused(f"{what} in what was given: a certificate and its key are needed, in one file or two")
    leaf = leaf_of(certificates, keys[0])
    if leaf is None:
        shown = "; ".join(map(told, certificates[:3]))
        raise Refused(f"the key belongs to none of the certificates, which are {shown}")
    return await _put(site, places, leaf, certificates, keys[0], [], asker)


@operation("certificate.self_signed")
async def sign(
    site: Any, name: str, asker: Asker, hosts: list[str] = _NONE, key: str = "ec", replace: bool = False
) -> dict[str, Any]:
    """Make a self-signed certificate for [tls.NAME]; `replace` also where an authority's is still good."""
    files = _files_of(site, name)
    if key not in ("ec", "rsa"):
        raise Refused('the key is "ec" or "rsa"')
    there = files.facts()
    if there is not None and not there.self_signed and not replace and not there.trouble(datetime.now(UTC)):
        raise Refused(f"{files.certificate} is of {there.issuer} and good until {there.ends:%Y-%m-%d}; --replace it?")
    wanted = canonical(hosts or files.hosts() or [site.options.site.hostname])
    made = await site.aside(lambda: self_signed(wanted, key=make_key(key)))
    leaf = x509.load_pem_x509_certificate(made[0])
    found = await site.aside(read_bundle, made[1], "")
    return await _put(site, files, leaf, [leaf], found.key, [], asker)


# ---------------------------------------------------------------- looking, assigning


@operation("certificate.list")
async def list_certificates(site: Any) -> list[dict[str, Any]]:
    """Every certificate: names, issuer, expiry, the servers that show it, a pending request, problems.

    Those of a folder follow the line of its table, `pair` is what the folder calls them."""
    certificates = site.certificates
    if not isinstance(certificates, Certificates):
        certificates = Certificates(site.options, site.base, site.monotonic, finish=False)
    rows: list[dict[str, Any]] = await site.aside(_rows, site, certificates)
    return rows


def _rows(site: Any, certificates: Certificates) -> list[dict[str, Any]]:
    """Blocks: every file is read."""
    certificates.look()
    rows = []
    for name, shelf in certificates.shelves.items():
        row = {"name": name, "servers": users_of(site.options, name), "pending": pending_of(site, name)}
        if shelf.folder is not None:
            folder = {"file": str(shelf.folder), "count": len(shelf.entries)}
            rows.append({**row, **folder, "problems": [shelf.trouble] if shelf.trouble else []})
        rows += [{**row, **_row(entry, shelf)} for entry in shelf.entries]
    for name in requests_of(site):
        if name not in certificates.shelves:
            rows.append({"name": name, "servers": [], "pending": pending_of(site, name), "problems": []})
    return rows


@operation("certificate.assign")
async def assign(site: Any, name: str, servers: list[str], asker: Asker) -> dict[str, Any]:
    """Have servers show the certificate of [tls.NAME] (S-050, S-051)."""
    _known(site, name)
    if not servers:
        raise Refused("no server is named; `mailsrv server list` tells which there are")
    for server in servers:
        if server not in site.options.servers:
            raise Refused(f"there is no server {server}{did_you_mean(server, site.options.servers)}")

    def edit(document: Any) -> None:
        """Set `certificate` of each."""
        if not any(protocol in document for protocol in SERVER_TABLES):
            # Without any table there is one of each protocol, but only then.
            for one in site.options.servers:
                protocol, _, within = one.partition("/")
                _table(_table(document, protocol, True), within)
        for server in servers:
            protocol, _, within = server.partition("/")
            _table(_table(document, protocol, True), within)["certificate"] = name

    done = await change(site, edit, Asked(asker.who, f"certificate {name} for {', '.join(servers)}"))
    return {"name": name, "servers": servers, **done}


# ---------------------------------------------------------------- files


def _files_of(site: Any, name: str) -> CertificateFiles:
    if not server_name(name):
        raise Refused('a name of a certificate is letters, digits, "-" and "_", at most 64')
    return CertificateFiles(site, name)


def _known(site: Any, name: str) -> None:
    if name not in site.options.certificates:
        raise Refused(f"there is no table [tls.{name}]{did_you_mean(name, site.options.certificates)}")


def _octets(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("a file is not in base64") from None
    if len(found) > MAX_FILE:
        raise Refused(f"a file is larger than {MAX_FILE} octets")
    return found


# ---------------------------------------------------------------- putting in place


async def _put(
    site: Any, files: CertificateFiles, leaf: x509.Certificate, found: Sequence[x509.Certificate], key: Any,
    wanted: list[str], asker: Asker,
) -> dict[str, Any]:  # fmt: skip
    """Check, write, name in the configuration.  Raises Refused, ConfigError."""
    try:
        facts = facts_of(leaf)
    except ValueError as error:
        raise Refused(str(error)) from None
    now = datetime.now(UTC)
    if now >= facts.ends:
        raise Refused(f"the certificate ({facts.subject}) expired on {facts.ends:%Y-%m-%d}")
    if now < facts.starts:
        raise Refused(f"the certificate ({facts.subject}) is not valid before {facts.starts:%Y-%m-%d %H:%M} UTC")
    chain, left = chain_of(leaf, found)
    warnings = [*facts.problems, *advice(facts, chain, left, missing(facts.names, wanted))]
    await site.aside(put_in_place, files, chain, key)
    done: dict[str, Any] = {"applied": [], "restart": []}
    if not files.known:
        done = await change(site, _adding(files), Asked(asker.who, f"certificate {files.name}"))
    if isinstance(site.certificates, Certificates):
        site.certificates.refresh(files.name)
    servers = users_of(site.options, files.name)
    return {"name": files.name, "file": str(files.certificate), "servers": servers, "warnings": warnings,
            "chain": len(chain), **_facts(facts), **done}  # fmt: skip


def _adding(files: CertificateFiles) -> Callable[[Any], None]:
    """An edit that adds the table [tls.NAME]."""

    def edit(document: Any) -> None:
        """Name both files."""
        if files.name in document.get("tls", {}):
            text = f"the file has a table [tls.{files.name}] that is not in effect"
            raise Refused(f"{text}: `mailsrv config apply`, then once more")
        table = _table(_table(document, "tls", True), files.name)
        table["certificate"], table["key"] = files.written

    return edit


def _table(within: Any, key: str, above: bool = False) -> Any:
    """A table of the document, made when it is missing; `above`: one that only holds tables."""
    if key not in within:
        within[key] = tomlkit.table(is_super_table=above)
    return within[key]


def _facts(facts: Facts) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "subject": facts.subject, "issuer": "itself" if facts.self_signed else facts.issuer, "hosts": list(facts.names),
        "starts": f"{facts.starts:%Y-%m-%dT%H:%M:%SZ}", "expires": f"{facts.ends:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": facts.days_left(now), "key": facts.key,
    }  # fmt: skip


def _row(entry: Entry, shelf: Shelf) -> dict[str, Any]:
    """One certificate for JSON."""
    row: dict[str, Any] = {"file": str(entry.pair.certificate), "problems": [entry.error] if entry.error else []}
    if shelf.folder is not None:
        row["pair"] = entry.pair.name
    if entry.facts is not None:
        row |= _facts(entry.facts)
        row["problems"] = [*entry.facts.trouble(datetime.now(UTC)), *filter(None, [shelf.key_trouble(entry.pair)])]
    return row
