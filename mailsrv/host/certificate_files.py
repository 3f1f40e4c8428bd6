"""Files of certificates, and of requests that are pending (floor 6; S-048, S-049, S-052).

A pending request is two files below `data/tls/requests`: NAME.csr, and NAME.key, which never leaves the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ..errors import Refused
from ..net.certificate import canonical_names, key_pem, make_key, replace_pair, request, write_new
from ..net.certificate_facts import Facts, names_of, read_facts
from ..net.certificate_read import leaf_of
from ..net.tls import fit, read_key

#: Host names of one request; authorities take 100.
MAX_HOSTS = 100
#: Characters of an organization's name (RFC 5280, ub-organization-name).
MAX_ORGANIZATION = 64


class CertificateFiles:
    """Where the files of one [tls.NAME] lie, and those of its pending request."""

    def __init__(self, site: Any, name: str) -> None:
        self.name = name
        table = site.options.certificates.get(name)
        if table is not None and table.directory:
            raise Refused(f"the certificates of [tls.{name}] come from {table.directory}, by whoever writes there")
        self.known = table is not None
        #: As the configuration has them.
        self.written = (
            (table.certificate, table.key)
            if table is not None
            else (f"{site.options.site.data}/tls/{name}.crt", f"{site.options.site.data}/tls/{name}.key")
        )
        self.certificate, self.key = (site.base / path for path in self.written)
        folder = requests_folder(site)
        self.request, self.pending_key = folder / f"{name}.csr", folder / f"{name}.key"

    def pending(self) -> bool:
        """Whether there is a request."""
        return self.request.exists() and self.pending_key.exists()

    def drop(self) -> None:
        """Forget it."""
        for path in (self.request, self.pending_key):
            path.unlink(missing_ok=True)

    def shown(self, before: bool) -> dict[str, Any]:
        """The pending request for JSON.  Raises Refused."""
        found = _read_request(self.request)
        return {"name": self.name, **found, "request": self.request.read_text("ascii"), "pending": before}

    def facts(self) -> Facts | None:
        """Of the certificate in place, if there is one."""
        try:
            return read_facts(self.certificate)
        except (OSError, ValueError):
            return None

    def hosts(self) -> list[str]:
        """Its names, but for those that a self-signed one has besides."""
        facts = self.facts()
        return [one for one in facts.names if one not in ("localhost", "127.0.0.1")] if facts is not None else []

    def key_for(self, found: Sequence[x509.Certificate]) -> tuple[Any, list[str]]:
        """(the key that a certificate is for, the names that were asked for).  Raises Refused."""
        try:
            if self.pending():
                key = read_key(self.pending_key)
                in_place = read_key(self.key) if self.key.exists() else None
                if leaf_of(found, key) is None and in_place is not None and leaf_of(found, in_place) is not None:
                    raise Refused(
                        f"the certificate belongs to the key in place of {self.name}, not to its pending request: "
                        f"`certificate cancel {self.name}` first if you want to go on with the old key"
                    )
                return key, list(_read_request(self.request)["hosts"])
            if not self.key.exists():
                raise Refused(f"no request for {self.name} is pending; `certificate import` takes a pair with its key")
            return read_key(self.key), self.hosts()
        except ValueError as error:
            raise Refused(f"{self.pending_key if self.pending() else self.key}: {error}") from None


def requests_folder(site: Any) -> Path:
    """Where pending requests lie."""
    folder: Path = site.options.data / "tls" / "requests"
    return folder


def requests_of(site: Any) -> list[str]:
    """The names of all pending requests."""
    return sorted(path.stem for path in requests_folder(site).glob("*.csr") if path.with_suffix(".key").exists())


def pending_of(site: Any, name: str) -> dict[str, Any] | None:
    """Hosts, subject, since when; None without one."""
    path = requests_folder(site) / f"{name}.csr"
    try:
        return _read_request(path) if path.exists() and path.with_suffix(".key").exists() else None
    except Refused as error:
        return {"hosts": [], "subject": str(error), "since": ""}


def make_request(files: CertificateFiles, hosts: list[str], who: tuple[str, str], kind: str) -> None:
    """Make key and request in the place of any that are pending.  Blocks; RSA keys take a while.  Raises Refused."""
    if len(who[0]) > MAX_ORGANIZATION or len(who[1]) not in (0, 2):
        raise Refused(f"an organization has at most {MAX_ORGANIZATION} characters, a country two letters")
    try:
        key = make_key(kind)
        pem = request(key, hosts, *who)
        files.drop()
        files.request.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_new(files.pending_key, key_pem(key), 0o600)
        write_new(files.request, pem, 0o644)
    except ValueError as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}") from error


def _read_request(path: Path) -> dict[str, Any]:
    """Names, subject, since when.  Raises Refused."""
    try:
        found = x509.load_pem_x509_csr(path.read_bytes())
        names = names_of(found)
        since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, x509.InvalidVersion):
        raise Refused(f"{path} is damaged; `certificate request --renew` makes another") from None
    return {"hosts": names, "subject": found.subject.rfc4514_string(), "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}


def canonical(hosts: Sequence[str]) -> list[str]:
    """Host names as a certificate has them.  Raises Refused."""
    if len(hosts) > MAX_HOSTS:
        raise Refused(f"at most {MAX_HOSTS} hosts")
    try:
        return canonical_names(hosts)
    except ValueError as error:
        raise Refused(str(error)) from None


def put_in_place(files: CertificateFiles, chain: list[x509.Certificate], key: Any) -> None:
    """Write certificate and key where the table says.  Blocks.  Raises Refused."""
    if not fit(chain[0], key):
        raise Refused("the key does not belong to the certificate")
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
    try:
        replace_pair(files.certificate, files.key, pem, key_pem(key))
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}; the server must be able to write there") from error


def advice(
    facts: Facts, chain: Sequence[x509.Certificate], left: Sequence[x509.Certificate], lacking: Sequence[str]
) -> list[str]:
    """What its owner should know."""
    found = []
    if lacking:
        found.append(f"it is not good for {', '.join(lacking)}, which were asked for")
    if len(chain) == 1 and not facts.self_signed:
        found.append("no certificate of an authority came with it: clients that do not know its issuer will refuse it")
    if left:
        found.append(f"{len(left)} certificates of the file have no place in the chain and were left out")
    return found


def told(certificate: x509.Certificate) -> str:
    """A certificate in a sentence."""
    return f'"{certificate.subject.rfc4514_string()[:100]}" by "{certificate.issuer.rfc4514_string()[:100]}"'
