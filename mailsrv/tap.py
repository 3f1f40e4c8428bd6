"""`twistd mailsrv`: a site as a Twisted service (floor 7).

Before `twistd` forks nothing happens but parsing: the site is built when the service starts.  A new site is made by
`mailsrv init` in a process of its own, which leaves no thread, database or socket behind in this one.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python import usage

from .errors import ConfigError
from .host.config.load import load
from .host.config.options import SiteOptions
from .host.config.profiles import USUAL_PORTS
from .host.logs import logger_for
from .host.notify import Notifier
from .host.privileges import account_of, acting_as, become, check, check_access, own_data

log = Logger()

USUAL_FILES = ("mailsrv.toml", "mailsrv-data/mailsrv.toml")
NEW_SITE = "mailsrv-data"
#: Seconds `mailsrv init` may take.
INIT_SECONDS = 60
#: mallopt's name for the size from which a block is mapped on its own, and that size.
_M_MMAP_THRESHOLD, _LARGE = -3, 2**20

#: Seconds after which a thread that works gives way to another that waits.
SWITCH_SECONDS = 0.001


class Options(usage.Options):
    """The command line of `twistd mailsrv`."""

    synopsis = "[--config FILE] [--public]"
    longdesc = (
        "Run a mail site.  Without --config the file is ./mailsrv.toml, else ./mailsrv-data/mailsrv.toml; when neither "
        "exists, a site is made in ./mailsrv-data, with an account whose password is shown once."
    )
    optParameters = [["config", "c", None, "The configuration file."]]
    optFlags = [["public", None, "A site made now listens on all addresses, not only on 127.0.0.1."]]

    def postOptions(self) -> None:
        """Twisted: all is parsed.  `twistd` makes the log next, as its options say."""
        parent = self.parent
        if parent is None or parent.get("logger") or parent.get("syslog"):
            return
        logfile, json = parent.get("logfile") or "", _json(self)
        if json and logfile not in ("", "-"):
            raise usage.UsageError('log.format = "json" goes to standard output or twistd.log: leave --logfile out')
        parent["logger"] = logger_for(logfile, bool(parent.get("nodaemon")), json) or None


def _json(options: Any) -> bool:
    """Whether log.format is "json"; mistakes of the configuration are told when it is loaded."""
    given = [options["config"]] if options["config"] else [name for name in USUAL_FILES if Path(name).exists()]
    try:
        return bool(given) and load(Path(given[0])).log.format == "json"
    except ConfigError:
        return False


def makeService(options: Any) -> MultiService:
    """The service for `twistd`.  Raises SystemExit with the mistake, the one way `twistd` shows no traceback."""
    try:
        return SiteService(load(_config(options)))
    except ConfigError as error:
        raise SystemExit(f"mailsrv: {error}") from error


def _config(options: Any) -> Path:
    """The file to run, absolute; made when there is none."""
    if options["config"]:
        return Path(options["config"]).absolute()
    for name in USUAL_FILES:
        if Path(name).exists():
            return Path(name).absolute()
    _make_site(bool(options["public"]) or os.geteuid() == 0)
    return Path(NEW_SITE, "mailsrv.toml").absolute()


def _make_site(public: bool) -> None:
    """Run `mailsrv init` in a child.  Raises ConfigError."""
    address = "*" if public else "127.0.0.1"
    command = [sys.executable, "-m", "mailsrv", "init", NEW_SITE, "--address", address]
    if not can_bind("" if public else "127.0.0.1"):
        command.append("--high-ports")
    try:
        status = subprocess.run(command, timeout=INIT_SECONDS, stdin=subprocess.DEVNULL, check=False).returncode
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"cannot make a site: {error}", file=NEW_SITE) from error
    if status:
        raise ConfigError("cannot make a site, see above; `mailsrv init DIR` does it by hand", file=NEW_SITE)


def can_bind(address: str, ports: tuple[int, ...] = tuple(USUAL_PORTS)) -> bool:
    """True when every one of the ports may be bound now; nothing is left open."""
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the listeners will: connections of the past in TIME_WAIT are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


class SiteService(MultiService):
    """Holds the options until the service starts, then the site."""

    def __init__(self, options: SiteOptions) -> None:
        super().__init__()
        self.options = options
        self.site: Any = None
        #: A signal to end has come.
        self.ending = False
        self._notifier: Notifier | None = None

    def privilegedStartService(self) -> None:
        """Twisted: ports are taken while the process may; then it becomes the user of `site.run_as`."""
        from .host.certificates import certificates_of

        run_as, data = self.options.site.run_as, self.options.data
        if not run_as:
            self._build().privilegedStartService()
            return
        try:
            account = account_of(run_as)
            check(account, data)
            own_data(account, data)
            site = self._build()
            with acting_as(account):
                # A certificate that is made now belongs to that user.
                certificates_of(site)
            site.privilegedStartService()
            become(account)
            check_access(account, data)
        except ConfigError as error:
            raise SystemExit(f"mailsrv: {error}") from error

    def startService(self) -> None:
        """Twisted: the reactor is about to turn."""
        give_back_memory()
        site = self._build()
        self._notifier = Notifier(os.environ, site.reactor.callLater)
        site.reactor.callWhenRunning(self._end_at_once)
        super().startService()
        site.started.addCallbacks(self._welcome, self._failed)

    def stopService(self) -> Deferred[Any]:
        """Twisted: the end."""
        self.ending = True
        if self._notifier is not None:
            self._notifier.stopping("commands and deliveries under way end")
        return maybeDeferred(super().stopService)

    def _end_at_once(self) -> None:
        """From now on a second SIGTERM or SIGINT ends the process; what was acknowledged is on the disk."""
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, partial(self._signalled, before))

    def _signalled(self, before: Callable[..., Any], number: int, frame: Any) -> None:
        if self.ending:
            # `twistd` has put its log in the place of sys.stderr.
            with suppress(OSError):
                os.write(2, b"mailsrv: the second signal: ended at once\n")
            os._exit(128 + number)
        self.ending = True
        before(number, frame)

    def _build(self) -> Any:
        """The site, once."""
        if self.site is None:
            from twisted.internet import reactor

            from .host.arrivals import raise_open_files
            from .host.site import Site

            raise_open_files(reactor)
            count_evenly(reactor)
            self.site = Site(self.options, reactor, self.options.base)
            self.site.setServiceParent(self)
        return self.site

    def _welcome(self, site: Any) -> None:
        """Say where it listens and how a first mail is sent and read."""
        turn_quickly()
        for warning in self.options.warnings:
            log.warn("{warning}", warning=str(warning))
        for name, server in site.servers.items():
            if server.addresses():
                log.info("{server} listens on {addresses}", server=name, addresses=", ".join(server.addresses()))
            elif not server.reason:
                # A reason was told when it arose.
                log.warn("{server} is {state}", server=name, state=server.state)
        for line in first_steps(self.options, {name: server.addresses() for name, server in site.servers.items()}):
            log.info("{line}", line=line)
        running = sum(server.state == "running" for server in site.servers.values())
        if self._notifier is not None:
            self._notifier.ready(f"{running} of {len(site.servers)} virtual servers run")

    def _failed(self, failure: Any) -> None:
        """A site that cannot start ends the process; why is in the log already."""
        if self.running:
            atexit.register(_exit_failed)
            self.site.reactor.callLater(0, _stop, self.site.reactor)


def give_back_memory() -> None:
    """Have the C library return large blocks to the system as soon as they are free.

    By default glibc learns from the first freed block of 19 MiB (one argon2 hash) to keep such blocks in its heaps:
    a few logins then hold 40 MB for ever.  A fixed threshold stops the learning (mallopt(3), M_MMAP_THRESHOLD).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def count_evenly(reactor: Any) -> None:
    """Have the timers of a reactor that belongs to `twistd` follow a clock that nobody sets (decisions 24).

    By default they follow the calendar: set back by a day it stops them all for a day.  What an embedding program's
    reactor does is its own business.
    """
    if getattr(type(reactor), "seconds", None) is ReactorBase.seconds and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic


def turn_quickly() -> None:
    """Keep the reactor from waiting for its own process, once all is loaded.

    What is there now stays to the end: without it a full garbage collection takes 1 ms, with it over 20.  And the
    reactor gets the interpreter back from the store's busy writer thread after 1 ms instead of 5, several times in
    one answer; the throughput is the same (bench/micro_store.py).

    The collector itself is left as it is: looking less often gained nothing on a quiet machine, and its turns became
    longer, up to 57 ms in a queue of 100,000 rows.
    """
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


def _stop(reactor: Any) -> None:
    """Stop a reactor that turns."""
    if reactor.running:
        reactor.stop()


def _exit_failed() -> None:
    """`twistd` knows no exit status but 0; whoever supervises the process must see that it failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def first_steps(options: SiteOptions, addresses: dict[str, list[str]]) -> list[str]:
    """How to send and read a first mail with what runs; no line about what does not."""
    # The authenticator of test beds knows u1 before anybody has logged in; `mailsrv init` made me@.
    name = "u1" if any(choice.use == "any" for choice in options.authenticators) else "me"
    account = f"{name}@{next(iter(options.domains))}"
    lines = []
    for protocol, text in (
        ("smtp", "send: swaks --server {} --to {}"),
        ("imap", "read: curl -k --ssl-reqd --user {1} 'imap://{0}/INBOX;MAILINDEX=1'"),
        ("pop3", "or:   curl -k --ssl-reqd --user {1} pop3://{0}/1"),
    ):
        for name, listening in addresses.items():
            plain = [place for place in listening if not place.endswith("/tls") and not place.startswith("unix:")]
            if name.startswith(protocol) and plain:
                lines.append(text.format(_reachable(plain[0]), account))
                break
    return lines


def _reachable(place: str) -> str:
    """A wildcard address as one that a client can be given."""
    return place.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
