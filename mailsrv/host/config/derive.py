"""What the rest of the host asks of the options (floor 4)."""

from __future__ import annotations

from ipaddress import ip_network
from math import ceil
from typing import Any

from attrs import evolve

from ...auth.guard import GuardSettings
from ...limits import Limits
from ...serve.allowances import SiteLimits
from ...transfer.submission import Submission
from ...values import DomainFacts
from .options import ImapOptions, PolicyChoice, Pop3Options, ServerOptions, SiteOptions, SmtpOptions

#: Octets of a literal that may come unasked with LITERAL- (RFC 7888 section 5).
LITERAL_MINUS = 4096


def limits_of(server: ServerOptions, site: SiteOptions) -> Limits:
    """The limits of one virtual server."""
    limits = Limits(
        connections=server.max_connections,
        connections_per_address=server.max_connections_per_address,
        idle_timeout=server.idle_timeout,
        login_timeout=server.login_timeout,
        failed_login_delay=server.failed_login_delay or 0.0,
        append_octets=site.limits.append_limit,
    )
    if isinstance(server, SmtpOptions):
        limits = evolve(
            limits,
            # Who may send without a login is not waited for.
            login_timeout=None if "anonymous" in server.authentication else server.login_timeout,
            message_octets=server.max_message_size,
            session_octets=server.max_session_size,
            recipients=server.max_recipients,
            hops=server.max_hops,
            data_timeout=server.message_timeout,
        )
    if isinstance(server, ImapOptions) and server.literal_minus:
        limits = evolve(limits, imap_unasked_octets=LITERAL_MINUS)
    return limits


def policies_of(server: SmtpOptions, site: SiteOptions) -> tuple[PolicyChoice, ...]:
    """The message policies of a server in order: its sender filter, its check of senders, and those it names.

    The relay rule comes first of these when the list does not place it: leaving it out of a list must not make an
    open relay."""
    first = []
    if server.sender_filter:
        name = f"filter.{server.sender_filter}"
        first.append(PolicyChoice(name, "senders", site.filters[server.sender_filter]))
    if server.sender_check:
        first.append(PolicyChoice("sender_check", "own_sender"))
    named = [site.policies[name] for name in server.policies]
    if not any(choice.use == "relay" for choice in named):
        first.append(next(choice for choice in site.policies.values() if choice.use == "relay"))
    return (*first, *named)


def submission_of(server: SmtpOptions) -> Submission:
    """What a server does to mail of those who logged in."""
    return Submission(server.role == "submission", server.hide_client, server.received_user)


def pop3_settings(server: Pop3Options) -> dict[str, Any]:
    """What `Pop3Services` has besides."""
    return {
        "apop": server.apop,
        "exclusive": server.maildrop_lock,
        "login_delay": ceil(server.login_delay or 0),
        "uidl": server.uidl_format,
    }


def imap_settings(server: ServerOptions) -> dict[str, Any]:
    """What `Services` has besides for IMAP4."""
    if not isinstance(server, ImapOptions):
        return {}
    return {
        "public_account": server.public_account,
        "public_folders": server.public_folders,
        "separator": server.separator,
    }


def public_accounts(site: SiteOptions) -> frozenset[str]:
    """The addresses of the accounts whose mailboxes are public folders, of all servers (S-142)."""
    named = (server.public_account for server in site.servers.values() if isinstance(server, ImapOptions))
    return frozenset(filter(None, named))


def domain_facts(site: SiteOptions) -> tuple[DomainFacts, ...]:
    """The local domains as the directory wants them, in the order of site.domains."""
    return tuple(
        DomainFacts(name, table.kind, table.subaddress, table.catch_all) for name, table in site.domains.items()
    )


def site_limits(site: SiteOptions) -> SiteLimits:
    """What holds for accounts without limits of their own (S-120)."""
    limits = site.limits
    return SiteLimits(
        limits.quota, limits.max_message_in, limits.max_message_out, limits.quota_messages, limits.quota_mailboxes
    )


def guard_settings(site: SiteOptions) -> GuardSettings:
    """How failed logins are answered."""
    limits = site.limits
    return GuardSettings(
        per_address=limits.failed_logins_per_address,
        per_account=limits.failed_logins_per_account,
        window=limits.failed_login_window,
        ban=limits.ban_time,
        never=tuple(ip_network(network) for network in limits.never_banned),
    )


def login_domains(site: SiteOptions) -> dict[str, str]:
    """What the DOMAIN of ``DOMAIN\\user`` stands for, in lower case: the name a domain was given, else its first
    label; "" where that could be several (decisions 33)."""
    found: dict[str, str] = {}
    for name in site.domains:
        label = name.partition(".")[0].lower()
        found[label] = "" if label in found else name
    found.update((table.netbios.lower(), name) for name, table in site.domains.items() if table.netbios)
    return found
