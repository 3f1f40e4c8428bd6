"""The command `mailsrv NOUN VERB` (floor 7).  Exit status: 0 done, 1 no, 2 usage, 3 server not reachable."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import MailError, Refused
from ..host.control.client import NotReachable
from . import (
    access,
    audit,
    auth,
    badmail,
    bans,
    certificate,
    config,
    dns,
    init,
    log,
    mailbox,
    queue,
    server,
    service,
    session,
    site,
    store,
    trace,
    users,
)
from .common import NO, UNREACHABLE, USAGE, UsageError, common_arguments


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="mailsrv", description="Administer a mail server; `twistd mailsrv` runs one.",
        epilog="Exit status: 0 done, 1 the answer is no, 2 usage, 3 server not reachable.",
    )
    top.add_argument("--version", action="version", version=f"mailsrv {__version__}")
    common_arguments(top, None, False)
    nouns = top.add_subparsers(metavar="COMMAND", required=True)
    for module in (
        init, config, users, auth, access, bans, server, service, certificate, mailbox, session,
        queue, badmail, dns, store, trace, log, audit, site,
    ):  # fmt: skip
        module.add_parsers(nouns)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    args = parser().parse_args(arguments)
    mask = os.umask(0o077)
    try:
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except UsageError as error:
        return _fail(args, error, USAGE)
    except NotReachable as error:
        return _fail(args, error, UNREACHABLE)
    except MailError as error:
        return _fail(args, error, NO)
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep the interpreter from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO
    except OSError as error:
        return _fail(args, Refused(str(error)), NO)
    except KeyboardInterrupt:
        return 130
    finally:
        os.umask(mask)


def _fail(args: argparse.Namespace, error: MailError, status: int) -> int:
    """Tell why not: on standard error, or as JSON on standard output."""
    if args.json:
        sys.stdout.write(json.dumps({"error": str(error), "status": error.status}) + "\n")
    else:
        sys.stderr.write(f"mailsrv: {error}\n")
    return status
