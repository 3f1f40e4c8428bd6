"""What the servers of a site work with (floor 6): all parts, made from the options in effect; the architecture on one
screen.

It is made again when the options change (`live.py`): connections that come then get the new objects, those that are
open keep what they began with.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from twisted.logger import Logger

from ..auth.offers import Offers
from ..interfaces import IMessagePolicy
from ..parts import find
from ..serve.pop3_base import Pop3Services
from ..serve.session import Services, SmtpServices
from ..serve.smtp_policies import PolicyMaker
from .access import speakers_of
from .config.derive import imap_settings, limits_of, policies_of, pop3_settings, submission_of
from .config.options import PolicyChoice, Pop3Options, ServerOptions, SiteOptions, SmtpOptions
from .formats import Formats
from .protocols import SESSIONS
from .recipients import Recipients
from .slices import Slices

log = Logger()


class Wiring:
    """Makes services of servers, in slices.  What counts or remembers is kept from one making to the next, and what is
    dear: counters of servers, policies whose options are the same, and what is offered where neither the server's
    options nor the authenticators are other ones."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._counters: dict[str, dict[str, int]] = {}
        self._policies: dict[tuple[str, str], tuple[Any, PolicyMaker]] = {}
        self._offers: dict[str, tuple[Any, Offers]] = {}

    async def services(self, formats: Formats, recipients: Recipients) -> dict[str, Services]:
        """Those of every server of the site's options.  Raises ConfigError; nothing has changed then."""
        options = self._site.options
        names = _names(options)
        made: dict[tuple[str, str], tuple[Any, PolicyMaker]] = {}
        services, slices = {}, Slices(self._site)
        for name, server in options.servers.items():
            services[name] = self._services(server, formats, recipients, names, made)
            await slices.breathe()
        self._policies = made
        return services

    def forget(self, name: str) -> None:
        """A server is gone; one of the same name that comes later counts anew."""
        self._counters.pop(name, None)
        self._offers.pop(name, None)

    def _services(
        self, server: ServerOptions, formats: Formats, recipients: Recipients, names: Any,
        made: dict[tuple[str, str], tuple[Any, PolicyMaker]],
    ) -> Services:  # fmt: skip
        site = self._site
        common = {**self._common(server), "store": formats.store_of(server.id, site.store)}
        if isinstance(server, Pop3Options):
            made = Pop3Services(**common, **pop3_settings(server))
            before = getattr(self._site.servers.get(server.id), "services", None)
            # Who has logged in a moment ago has done so by the new options too.
            made.last_logins = getattr(before, "last_logins", made.last_logins)
            return made
        if not isinstance(server, SmtpOptions):
            return Services(**common, **imap_settings(server))
        policies = []
        for choice in policies_of(server, site.options):
            key = server.id, choice.name
            known, maker = self._policies.get(key, (None, None))
            # Some know the names of the site from their making.
            if maker is None or known != (choice, names):
                maker = self._policy(choice)
            made[key] = (choice, names), maker
            policies.append(maker)
        return SmtpServices(
            **common,
            router=site.router,
            intake=site.intake,
            policies=[
                *policies, *recipients.policies_of(server), *(partial(make, site) for make in site.given_policies)
            ],
            anonymous=site.logins.anonymous(server),
            submission=submission_of(server),
            default_domain=server.default_domain or site.first_domain(),
            reverse=site.access.check_of(server),
            vrfy=server.vrfy,
            expn=server.expn,
            etrn=site.access.etrn_of(server),
            xclient=speakers_of(server),
            bare_newlines=server.bare_newlines,
            dsn=site.access.dsn_of(server),
        )

    def _common(self, server: ServerOptions) -> dict[str, Any]:
        """What a server of any protocol gives to its sessions, as far as it is not shared by all of them."""
        site, counters = self._site, self._counters.setdefault(server.id, {})

        def count(what: str) -> None:
            counters[what] = counters.get(what, 0) + 1

        return {
            "counters": counters,
            "access": site.access.filter_of(server, count),
            "name": server.id,
            "protocol": server.protocol,
            "hostname": server.hostname,
            "limits": limits_of(server, site.options),
            "offers": self._offers_of(server),
            "door": site.logins.door(server),
            "decoy": site.logins.decoy,
            "now": site.clock,
            "random": os.urandom,
            "sleep": site.sleep,
            "aside": site.aside,
            "spool_folder": str(site.options.data),
            "maildrops": site.maildrops,
            "publish": site.events.publish,
            "login_domain": server.login_domain or site.first_domain(),
            "require_tls": server.require_tls,
            "allowances": site.allowances,
            "ntlm_ok": getattr(server, "ntlm_ok", False),
            "tls_available": server.certificate in site.options.certificates,
        }

    def _offers_of(self, server: ServerOptions) -> Offers:
        logins = self._site.logins
        key = server, logins.authenticators
        if server.id not in self._offers or self._offers[server.id][0] != key:
            self._offers[server.id] = key, logins.offers(server)
        return self._offers[server.id][1]

    def _policy(self, choice: PolicyChoice) -> PolicyMaker:
        """A maker of one policy's object per connection; the first is made now, to find mistakes at the start."""
        part, options, common = find(IMessagePolicy, choice.use), choice.options, choice.common
        built = part.build(options, self._site)
        make = getattr(built, "for_connection", None) or partial(part.builder, options, self._site)
        return PolicyMaker(make, choice.name, common.timeout or None, common.on_failure)


def _names(options: SiteOptions) -> Any:
    """All names by which a site is known."""
    return options.site.hostname, tuple(options.domains), tuple((s.id, s.hostname) for s in options.servers.values())


def settings_of(site: Any, server: ServerOptions) -> dict[str, Any]:
    """What a virtual server itself goes by, besides its limits and bindings."""
    return {
        "make_session": SESSIONS["lmtp" if getattr(server, "role", "") == "lmtp" else server.protocol],
        "proxies": server.trusted_proxies,
        "tls_context": site.certificates.context_of(server),
        "automatic": server.startup == "automatic",
    }
