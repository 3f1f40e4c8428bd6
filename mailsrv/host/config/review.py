"""Checks across tables, and the warnings (floor 4)."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator

import attrs

from ...access.entries import Entry
from ...errors import ConfigError
from ...parts import Place, did_you_mean, dotted, quoted
from .certificates import certificate_mistakes, server_mistakes
from .delivery import delivery_mistakes
from .options import Pop3Options, ServerOptions, SiteOptions, SmtpOptions
from .routes import route_mistakes
from .values import MAX_SOCKET_PATH, Binding

#: Below these the RFCs' clients are cut off (RFC 9051 section 5.4, RFC 1939 section 3, RFC 5321 section 4.5.3.2.7).
IDLE_MINIMUM = {"imap": 1800.0, "pop3": 600.0, "smtp": 300.0}


def review(options: SiteOptions, place: Place) -> SiteOptions:
    """The options with their warnings.  Raises ConfigError for what contradicts itself."""
    _control(options, place)
    _bindings(options, place)
    certificate_mistakes(options.certificates, options.given, place)
    for server in options.servers.values():
        _references(options, server, _at(place, server))
    _delivery(options, place)
    _recipients(options, place)
    _formats(options, place)
    warnings = [*_site_warnings(options, place), *_access_warnings(options, place)]
    for server in options.servers.values():
        warnings += _server_warnings(server, _at(place, server))
        if isinstance(server, SmtpOptions):
            warnings += _smtp_warnings(options, server, _at(place, server))
    return attrs.evolve(options, warnings=tuple(warnings))


def _delivery(options: SiteOptions, place: Place) -> None:
    """Routes, and how servers send on."""
    for name, table in options.routes.items():
        for key, text in route_mistakes(table):
            raise place.at("routes", name).error(text, key)
    smart_host = bool("*" in options.routes and options.routes["*"].host)
    for server in options.servers.values():
        if isinstance(server, SmtpOptions):
            for key, text in delivery_mistakes(server.delivery, smart_host):
                raise _at(place, server).at("delivery").error(text, key)


def _recipients(options: SiteOptions, place: Place) -> None:
    """How recipients of domains are verified."""
    for name, table in options.domains.items():
        at = place.at("domain", name)
        if table.verify != "off" and table.kind != "relay":
            raise at.error('only recipients of kind "relay" are verified: all others are known here', "verify")
        if (table.verify == "list") != bool(table.recipients_file):
            raise at.error('verify = "list" and recipients_file belong together', "recipients_file")


def _formats(options: SiteOptions, place: Place) -> None:
    """How messages are shown."""
    for server in options.servers.values():
        if isinstance(server, Pop3Options) and server.format.binhex and server.format.encoding != "uuencode":
            raise _at(place, server).at("format").error('binhex needs encoding = "uuencode"', "binhex")


def _at(place: Place, server: ServerOptions) -> Place:
    """The place of a server's table."""
    return place.at(*server.id.split("/", 1))


def _control(options: SiteOptions, place: Place) -> None:
    """The control socket's path must fit into a socket address."""
    if options.file is not None and len(str(options.control).encode()) > MAX_SOCKET_PATH:
        text = f"{options.control} is longer than the path of a socket may be ({MAX_SOCKET_PATH} octets)"
        raise place.error(f"{text}: set a shorter one", "site", "control")


def _bindings(options: SiteOptions, place: Place) -> None:
    """Two servers with one binding."""
    seen: dict[tuple[int, str, str], list[tuple[Binding, str]]] = {}
    for server in options.servers.values():
        for binding in server.listen:  # type: ignore[attr-defined]
            at = _at(place, server)
            if options.file is not None and len(os.fsencode(binding.below(options.base).path)) > MAX_SOCKET_PATH:
                text = f"{options.base / binding.path} is longer than the path of a socket may be"
                raise at.error(f"{text} ({MAX_SOCKET_PATH} octets): choose a shorter one", "listen")
            beside = seen.setdefault((binding.port, binding.path, binding.endpoint), [])
            for other, owner in beside:
                if binding.clashes(other) and owner != server.id:
                    where = f"{attrs.evolve(binding, tls=False)} is a binding of {owner} already"
                    raise at.error(f"{where}; give one of them another address or port", "listen")
            if binding.port or binding.path or binding.endpoint:
                beside.append((binding, server.id))


def _references(options: SiteOptions, server: ServerOptions, place: Place) -> None:
    """Names of tables, and settings that exclude each other."""
    server_mistakes(options.certificates, server, place)
    for key in ("access", "relay"):
        name = getattr(server, key, "")
        if name and name not in options.access:
            known = did_you_mean(name, options.access) or f"; known: {quoted(options.access) or 'none'}"
            raise place.error(f"there is no table [access.{name}]{known}", key)
    name = getattr(server, "sender_filter", "")
    if name and name not in options.filters:
        known = did_you_mean(name, options.filters) or f"; known: {quoted(options.filters) or 'none'}"
        raise place.error(f"there is no table [filter.{name}]{known}", "sender_filter")
    if isinstance(server, SmtpOptions) and server.role == "lmtp" and any(b.port == 25 for b in server.listen):
        raise place.error("LMTP must not be spoken at port 25 (RFC 2033 section 5)", "listen")
    if isinstance(server, SmtpOptions) and server.role == "lmtp" and server.xclient_from:
        raise place.error("LMTP has no XCLIENT; a proxy says whose connection it is by trusted_proxies", "xclient_from")
    if not server.authentication:
        raise place.error("at least one method must be left, or nobody can use the server", "authentication")
    if isinstance(server, SmtpOptions) and server.role == "submission" and "anonymous" in server.authentication:
        raise place.error('role "submission" takes no mail without login: leave out "anonymous"', "authentication")


def _site_warnings(options: SiteOptions, place: Place) -> Iterator[ConfigError]:
    """What concerns no single server."""
    if any(choice.use == "any" for choice in options.authenticators):
        yield place.error(
            'the authenticator "any" lets in EVERY name with one password: for test beds only', "auth", "use"
        )
    uses = {choice.use for choice in options.authenticators}
    kept = {kind for choice in options.authenticators for kind in getattr(choice.options, "keep", ())}
    if "ntlm" not in kept and not uses & {"any", "passwd", "winbind"}:
        for server in options.servers.values():
            if "ntlm" in server.authentication:  # type: ignore[attr-defined]
                text = "nobody can log in by NTLM: no NT hashes are kept; set auth.directory.keep = [\"ntlm\"]"
                yield place.at(*server.id.split("/")).error(text, "authentication")
    if not options.metrics.token_file and not all(one.loopback for one in options.metrics.listen):
        text = "the counters are shown to everybody who can connect: set metrics.token_file"
        yield place.error(text, "metrics", "listen")
    if options.site.control_group and not options.site.control:
        text = "the data folder is closed to the group: set site.control to a path that it can reach"
        yield place.error(text, "site", "control_group")
    for name, table in options.domains.items():
        if table.kind == "relay" and table.verify == "off":
            text = "every recipient is taken, and what nobody has comes back to senders that spam has forged"
            yield place.error(f'{text}: set verify to "list" or "callout"', "domain", name, "kind")
        domain = table.catch_all.rpartition("@")[2]
        if table.catch_all and domain not in options.domains:
            yield place.error(f"{table.catch_all} is in no local domain", "domain", name, "catch_all")


def _access_warnings(options: SiteOptions, place: Place) -> Iterator[ConfigError]:
    """Entries that are taken otherwise than they look, or that say nothing new."""
    for name, table in options.access.items():
        seen: dict[str, Entry] = {}
        at, key = place.at("access", name), dotted(("access", name, "list"))
        for entry in table.entries:
            first = seen.setdefault(entry.normal, entry)
            text = entry.warning
            if first is not entry:
                text = f'"{entry.text}" is "{first.text}" of line {first.line} once more'
            if text:
                yield ConfigError(text, file=place.file, line=entry.line or None, key=key)
        if table.mode == "only" and not table.entries and any(s.access == name for s in options.servers.values()):
            yield at.error("an empty list of who is granted: nobody can connect", "list")


def _server_warnings(server: ServerOptions, place: Place) -> Iterator[ConfigError]:
    """What holds for every protocol."""
    least = IDLE_MINIMUM[server.protocol]
    if server.idle_timeout is not None and server.idle_timeout < least:
        yield place.error(f"by the standard clients may be silent for {least / 60:.0f}m", "idle_timeout")
    yield from _wide(server.trusted_proxies, "trusted_proxies", place)
    if not server.listen:
        yield place.error("no address to listen on: nobody can connect", "listen")
    if server.login_without_tls and "basic" in server.authentication:
        outside = [str(binding) for binding in server.listen if not binding.tls and not binding.loopback]
        if outside:
            text = f"passwords may cross the network in clear text at {', '.join(outside)}"
            yield place.error(text, "login_without_tls")


def _wide(networks: tuple[str, ...], key: str, place: Place) -> Iterator[ConfigError]:
    """Networks of proxies that are believed, with more hosts than a rack has; this machine's own are its own."""
    for text in networks:
        network = ipaddress.ip_network(text)
        if network.prefixlen < (24 if network.version == 4 else 64) and not network.is_loopback:
            said = f"every host of {text} may say that it is anybody: name the proxies, or at most a /24 or /64"
            yield place.error(said, key)


def _smtp_warnings(options: SiteOptions, server: SmtpOptions, place: Place) -> Iterator[ConfigError]:
    """What holds for SMTP servers."""
    yield from _wide(server.xclient_from, "xclient_from", place)
    if server.require_tls and server.role == "relay":
        yield place.error("other mail servers that cannot do TLS cannot deliver here", "require_tls")
    outside = [str(binding) for binding in server.listen if not binding.loopback]
    if server.role == "lmtp" and outside and not server.access:
        text = f"who reaches {', '.join(outside)} delivers past all checks of the other servers; give it an access list"
        yield place.error(text, "listen")
    if server.relay and options.access[server.relay].mode == "except":
        text = f"everybody whom [access.{server.relay}] does not name may send to all the world: an OPEN RELAY"
        yield place.error(text, "relay")
    if server.max_session_size is not None and server.max_session_size < (server.max_message_size or 2**63):
        yield place.error("less than one message may have (max_message_size)", "max_session_size")
    if server.default_domain not in options.domains:
        yield place.error(f"{server.default_domain} is not in site.domains", "default_domain")
