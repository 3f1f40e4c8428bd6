"""The command `mailsrv NOUN VERB` (floor 7).  Exit status: 0 done, 1 no, 2 usage, 3 server not reachable."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..errors import MailError, Refused
from ..host.control.client import NotReachable
from .common import NO, UNREACHABLE, USAGE, WITH_VALUE, UsageError, common_arguments

#: Noun -> the module that has its parser, in the order of the help.  A command loads only its own: all of them take
#: several times as long.
MODULES = {
    "init": "init", "check": "config", "config": "config", "user": "users", "alias": "users", "auth": "auth",
    "access": "access", "relay": "access", "ban": "bans", "server": "server", "service": "service",
    "certificate": "certificate", "mailbox": "mailbox", "session": "session", "queue": "queue", "badmail": "badmail",
    "dns": "dns", "store": "store", "trace": "trace", "log": "log", "audit": "audit", "token": "audit",
    "domain": "site", "part": "site", "status": "site",
}  # fmt: skip


def parser(noun: str = "") -> argparse.ArgumentParser:
    """The whole command line, or what is needed of it for one noun."""
    top = argparse.ArgumentParser(
        prog="mailsrv", description="Administer a mail server; `twistd mailsrv` runs one.",
        epilog="Exit status: 0 done, 1 the answer is no, 2 usage, 3 server not reachable.",
    )
    top.add_argument("--version", action="version", version=f"mailsrv {__version__}")
    common_arguments(top, None, False)
    nouns = top.add_subparsers(metavar="COMMAND", required=True)
    for module in [MODULES[noun]] if noun in MODULES else dict.fromkeys(MODULES.values()):
        import_module(f".{module}", __package__).add_parsers(nouns)
    return top


def noun_of(arguments: Sequence[str]) -> str:
    """The first word that is neither an option nor the value of one; "" without one."""
    words = iter(arguments)
    for word in words:
        if word in WITH_VALUE:
            next(words, "")
        elif not word.startswith("-"):
            return word
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    args = parser(noun_of(given)).parse_args(given)
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
