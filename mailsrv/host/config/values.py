"""Kinds of values that only the site's own tables hold: bindings, host names, domains (floor 4)."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

from attrs import evolve, frozen

from ...message.domains import a_labels, u_labels
from ...net.listen import endpoint_names
from ...parts import TEXT, TEXTS, Kind, did_you_mean, quoted
from ...serve.pop3_uidl import UidlFormat

_LABEL = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?", re.ASCII)
_ENDPOINT = re.compile(r"[a-z][a-z0-9]*:.*", re.ASCII | re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


#: All addresses, and all of one family.
_EVERY = {"*", "0.0.0.0", "::"}
#: sun_path of a UNIX socket, less its final NUL.
MAX_SOCKET_PATH = 107
#: Characters of the description of an endpoint.
MAX_ENDPOINT = 1000


@frozen(order=True)
class Binding:
    """One address and port a server listens on.  `host` is an IP address or "*" (All Unassigned, S-030);
    `port` 0: the system chooses; `tls`: TLS from the first octet.  Or a UNIX socket: `path`, and no host.  Or an
    `endpoint` as Twisted describes it."""

    host: str
    port: int
    tls: bool = False
    path: str = ""
    endpoint: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        if self.endpoint:
            return self.endpoint + ("/tls" if self.tls else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + ("/tls" if self.tls else "")

    @property
    def loopback(self) -> bool:
        """True when nobody outside this machine can connect."""
        return bool(self.path) or (self.host not in ("", "*") and ipaddress.ip_address(self.host).is_loopback)

    def clashes(self, other: Binding) -> bool:
        """Whether they cannot both be had: the same, or all addresses of a family twice."""
        if not (self.port or self.path or self.endpoint):
            return False
        if (self.port, self.path, self.endpoint) != (other.port, other.path, other.endpoint):
            return False
        return self.host == other.host or ("*" in (self.host, other.host) and {self.host, other.host} <= _EVERY)

    def below(self, folder: Path) -> Binding:
        """The same, with a path that does not depend on where the process runs."""
        return evolve(self, path=str(folder / self.path)) if self.path else self


def binding(text: str) -> Binding:
    """From ``ADDRESS:PORT[/tls]`` (an IPv6 address stands in brackets), ``unix:PATH``, or the description of an
    endpoint with ``/tls`` or without.  Raises ValueError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path or len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise ValueError(f'{text!r}: after "unix:" stands a path of at most {MAX_SOCKET_PATH} octets')
        return Binding("", 0, False, path)
    endpoint = _endpoint(text)
    if endpoint is not None:
        return endpoint
    place, slash, suffix = text.partition("/")
    if slash and suffix != "tls":
        raise ValueError(f'{text!r}: after "/" only "tls" may stand')
    host, colon, port = place.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ValueError(f'{text!r} must be ADDRESS:PORT or ADDRESS:PORT/tls, for example "*:25" or "[::1]:993/tls"')
    return Binding(_host(text, host), int(port), bool(slash))


def _endpoint(text: str) -> Binding | None:
    """Whether it begins with the name of a kind of endpoint."""
    name = text.partition(":")[0]
    if not _ENDPOINT.fullmatch(text) or name not in endpoint_names():
        return None
    if name == "stdio" or not text.isprintable() or len(text) > MAX_ENDPOINT:
        raise ValueError(f"{text[:MAX_ENDPOINT]!r} is no endpoint to listen on")
    tls = text.endswith("/tls")
    return Binding("", 0, tls, "", text.removesuffix("/tls"))


def _host(text: str, host: str) -> str:
    """The address in its canonical form."""
    if host == "*":
        return host
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f'{text!r}: "{host}" is no IP address; use one of this machine\'s, or "*" for all') from None
    if (address.version == 6) != bracketed:
        raise ValueError(f"{text!r}: an IPv6 address, and only that, stands in brackets: [::1]:25")
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _read_bindings(value: Any) -> tuple[Binding, ...]:
    """A list of bindings, none twice."""
    found: list[Binding] = []
    for text in TEXTS.read(value):
        one = binding(text)
        if any(one.clashes(other) for other in found):
            raise ValueError(f'"{evolve(one, tls=False)}" is listed twice')
        found.append(one)
    return tuple(found)


BINDINGS = Kind("list of ADDRESS:PORT[/tls] | unix:PATH | endpoint", _read_bindings)


def bindings_but(refused: Callable[[Binding], Any], text: str, name: str) -> Kind:
    """Bindings of one sort: others are refused with `text`."""

    def read(value: Any) -> tuple[Binding, ...]:
        """Each of them."""
        found: tuple[Binding, ...] = BINDINGS.read(value)
        for one in found:
            if refused(one):
                raise ValueError(f'"{one}": {text}')
        return found

    return Kind(name, read)


def _read_host_name(value: Any) -> str:
    """A host name in lower case, with U-labels (RFC 5890)."""
    text: str = TEXT.read(value)
    try:
        ascii_name = a_labels(normalize("NFKC", text).rstrip(".").lower())
        name = u_labels(ascii_name)
    except UnicodeError:
        ascii_name = name = ""
    if not ascii_name or len(ascii_name) > 253 or not all(_LABEL.fullmatch(label) for label in ascii_name.split(".")):
        raise ValueError(f'must be a host or domain name such as "mail.example.org", not {value!r}')
    return name


HOSTNAME = Kind("host name", _read_host_name)


def _read_host_names(value: Any) -> tuple[str, ...]:
    """A list of domains, none twice."""
    found: list[str] = []
    for text in TEXTS.read(value):
        name = _read_host_name(text)
        if name in found:
            raise ValueError(f'"{name}" is listed twice')
        found.append(name)
    return tuple(found)


DOMAINS = Kind("list of domains", _read_host_names)
#: What UIDL shows.
UIDL_FORMAT = Kind("format of unique ids", lambda value: UidlFormat(TEXT.read(value)))


def _read_networks(value: Any) -> tuple[str, ...]:
    """Addresses and networks as networks."""
    try:
        return tuple(str(ipaddress.ip_network(text)) for text in TEXTS.read(value))
    except ValueError as error:
        raise ValueError(f"{error}; write addresses and networks such as 192.0.2.7 or 10.0.0.0/8") from None


NETWORKS = Kind("list of networks", _read_networks)


def _read_path(value: Any) -> str:
    """A path, relative to the file of the configuration or absolute."""
    text: str = TEXT.read(value)
    if not text or "\0" in text:
        raise ValueError(f"must be the path of a file or folder, not {value!r}")
    return text


PATH = Kind("path", _read_path)


def or_empty(kind: Kind) -> Kind:
    """The kind, or "", which stands for the default."""
    return Kind(kind.name, lambda value: "" if value == "" else kind.read(value))


def subset(*names: str) -> Kind:
    """A list of some of these words, in any order."""

    def read(value: Any) -> frozenset[str]:
        """The words."""
        given = TEXTS.read(value)
        for word in given:
            if word not in names:
                raise ValueError(f'"{word}" is none of {quoted(names)}{did_you_mean(word, names)}')
        return frozenset(given)

    return Kind("list of " + " | ".join(names), read)


def server_name(name: str) -> bool:
    """Can this be the NAME of a virtual server, certificate or policy?"""
    return _NAME.fullmatch(name) is not None
