"""What is counted, and under which name it is shown (floor 6; S-068, X-10).

Each server's counters have its name as the label `server`; every family that a protocol can have is there from the
start, with zeros.  No sample tells of a user, a client or a message.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

from ... import __version__
from ...interfaces_figures import IFigures
from ..slices import Slices
from .lag import LagProbe
from .text import Family, Page

#: Sessions that are looked at together.
_LOT = 1000
_ALL = ("smtp", "imap", "pop3")
_SMTP = ("smtp",)


def _total(name: str, text: str) -> Family:
    return Family(f"mailsrv_{name}_total", "counter", text)


def _gauge(name: str, text: str) -> Family:
    return Family(f"mailsrv_{name}", "gauge", text)


_DENIED = _total("connections_denied", "Clients that were not let in, by who denied them")
_UNWANTED = _total("sessions_closed", "Sessions that the server ended, by why")
_SMTP_MOVED = _total("smtp_messages_moved", "Messages that a policy sent elsewhere, by where")

#: Counter of `Services` -> protocols that have it, family, labels.
COUNTERS: dict[str, tuple[tuple[str, ...], Family, dict[str, str]]] = {
    "connections": (_ALL, _total("connections", "Clients that connected"), {}),
    "turned away": (_ALL, _total("connections_turned_away", "Clients that came when a limit was reached"), {}),
    "denied by access": (_ALL, _DENIED, {"by": "access"}),
    "denied by policy": (_SMTP, _DENIED, {"by": "policy"}),
    "access not decided": (
        _ALL, _total("access_undecided", "Clients that were sent away because a name could not be looked up"), {},
    ),
    "bad proxy headers": (_ALL, _total("proxy_headers_bad", "Connections of proxies without a PROXY header"), {}),
    "logins": (_ALL, _total("logins", "Logins"), {}),
    "failed logins": (_ALL, _total("logins_failed", "Logins that were refused"), {}),
    "commands refused": (
        _ALL, _total("commands_refused", "What was no command, or not to be said then, or refused for good"), {},
    ),
    "closed for errors": (_SMTP, _UNWANTED, {"reason": "errors"}),
    "foreign protocols": (_SMTP, _UNWANTED, {"reason": "foreign protocol"}),
    "closed for session size": (_SMTP, _UNWANTED, {"reason": "session size"}),
    "messages": (_SMTP, _total("smtp_messages_received", "Messages that were accepted"), {}),
    "message octets": (_SMTP, _total("smtp_message_bytes", "Octets of messages that were accepted"), {}),
    "messages refused": (_SMTP, _total("smtp_messages_refused", "Messages that were refused after DATA"), {}),
    "messages discarded": (_SMTP, _total("smtp_messages_discarded", "Messages that were accepted for nobody"), {}),
    "messages redirected": (_SMTP, _SMTP_MOVED, {"to": "somebody else"}),
    "messages quarantined": (_SMTP, _SMTP_MOVED, {"to": "quarantine"}),
    "recipients refused": (_SMTP, _total("smtp_recipients_refused", "Recipients that were refused"), {}),
    "queues started": (_SMTP, _total("smtp_queues_started", "ETRN that had mail tried at once"), {}),
    "messages appended": (("imap",), _total("imap_messages_appended", "Messages of APPEND"), {}),
    "messages retrieved": (("pop3",), _total("pop3_messages_retrieved", "Messages of RETR"), {}),
}  # fmt: skip

_SESSIONS = _gauge("sessions", "Clients that are connected now")
_LOGGED_IN = _gauge("sessions_logged_in", "Sessions of somebody who has logged in")
_RUNNING = _gauge("server_running", "1 while the server accepts clients")
_IN = _total("received_bytes", "Octets from clients, as on the wire but for TLS")
_OUT = _total("sent_bytes", "Octets to clients, as on the wire but for TLS")
_OUTCOMES = _total("delivery_recipients", "Recipients of attempts to send mail on, by what became of them")
#: What may become of a recipient.
OUTCOMES = ("relayed", "delivered", "expanded", "delayed", "failed")
_REPORTS = _total("delivery_reports", "Reports to senders (bounces, delays, successes)")
_ATTEMPTS = _gauge("delivery_attempts", "Attempts to send mail on that are under way")
_LOOKUPS = _total("dns_lookups", "Names that were looked up, by how: asked, remembered, failed, turned away")
_LAG = Family("mailsrv_reactor_lag_seconds", "histogram", "How late a timer came that runs each second")
_WORST = _gauge("reactor_lag_worst_seconds", "The worst of them in the last minute")
_VERSION = _gauge("build_info", "1, with the version")
_STARTED = Family("process_start_time_seconds", "gauge", "When the process started, in UTC epoch seconds")
_CPU = Family("process_cpu_seconds_total", "counter", "Processor time of the process")
_MEMORY = Family("process_resident_memory_bytes", "gauge", "Memory that the process holds")
_FILES = Family("process_open_fds", "gauge", "Files that are open, with connections")
_MOST_FILES = Family("process_max_fds", "gauge", "Files that may be open")
#: What a store tells (`IFigures`) -> family.
STORE: dict[str, Family] = {
    "commits": _total("store_commits", "Commits of the store, each durable, for all that waited for it"),
    "operations": _total("store_operations", "Deliveries and changes that were committed"),
    "refused": _total("store_batches_refused", "Commits that failed, such as for a full disk"),
    "queue": _gauge("queue_rows", "Messages that wait to be sent on, one for each destination"),
}


async def collect(site: Any, probe: LagProbe) -> bytes:
    """The page; thousands of sessions keep nobody waiting."""
    page, slices = Page(), Slices(site)
    page.add(_VERSION, 1, version=__version__)
    for name, server in sorted(site.servers.items()):
        await _server(page, slices, name, server)
    _delivery(page, site)
    if IFigures.providedBy(site.store):
        for name, value in site.store.figures().items():
            if name in STORE:
                page.add(STORE[name], value)
    if "resolver" in vars(site.access):
        # Asking for it would make one.
        for how, value in site.access.resolver.counters.items():
            page.add(_LOOKUPS, value, how=how)
    page.histogram(_LAG, probe.lags)
    page.add(_WORST, probe.worst)
    _process(page)
    return page.render()


async def _server(page: Page, slices: Slices, name: str, server: Any) -> None:
    """The figures of one virtual server."""
    arrivals = server.arrivals
    # Taken together: whoever leaves while the others are looked at is counted once.
    octets_in, octets_out, present = arrivals.octets_in, arrivals.octets_out, arrivals.connections()
    page.add(_RUNNING, int(server.state == "running"), server=name)
    page.add(_SESSIONS, len(arrivals.present), server=name)
    logged_in = 0
    for at in range(0, len(present), _LOT):
        for connection in present[at : at + _LOT]:
            octets_in += connection.octets_in
            octets_out += connection.octets_out
            logged_in += connection.session.identity is not None
        await slices.breathe()
    page.add(_LOGGED_IN, logged_in, server=name)
    page.add(_IN, octets_in, server=name)
    page.add(_OUT, octets_out, server=name)
    protocol, counters = name.partition("/")[0], server.services.counters
    for what, (protocols, family, labels) in COUNTERS.items():
        if protocol in protocols:
            page.add(family, counters.get(what, 0), server=name, **labels)


def _delivery(page: Page, site: Any) -> None:
    """Mail that goes on."""
    if site.delivery is None:
        return
    runner = site.delivery.runner
    counted = runner.attempts.by_server
    for name in sorted({*site.delivery.lanes, *(server for server, _ in counted)}):
        for outcome in OUTCOMES:
            page.add(_OUTCOMES, counted.get((name, outcome), 0), server=name, outcome=outcome)
        page.add(_REPORTS, counted.get((name, "reported"), 0), server=name)
    page.add(_ATTEMPTS, runner.shares.workers)


def _process(page: Page) -> None:
    """The process, under the names that all programs use."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    page.add(_CPU, round(used.ru_utime + used.ru_stime, 3))
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        page.add(_STARTED, round(time.time() - now + int(fields[19]) / os.sysconf("SC_CLK_TCK"), 2))
        page.add(_MEMORY, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
        # Since Linux 6.2 the folder's size is how many there are; to list thousands takes a hundredth of a second.
        page.add(_FILES, os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")))
    except (OSError, AttributeError, IndexError, ValueError):
        # Only Linux tells.
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        page.add(_MOST_FILES, soft)
