"""What every command needs: the configuration, the way to the operations, the output (floor 7)."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ..errors import ConfigError, InUse, Refused
from ..host.config.load import load
from ..host.config.options import SiteOptions
from ..host.control.client import Client, NotReachable, RemoteClient
from .remote import OPTIONS, RemoteSite, UsageError, add_arguments, remote_site

#: Exit statuses.
DONE, NO, USAGE, UNREACHABLE = 0, 1, 2, 3

#: Options of every command that take a value.
WITH_VALUE = frozenset({"--config", *(f"--{name}" for name in OPTIONS)})

#: Where a configuration is looked for, in this order.
USUAL_FILES = ("mailsrv.toml", "mailsrv-data/mailsrv.toml")
MAX_PASSWORD_FILE = 4096

Call = tuple[str, Mapping[str, Any]]


def find_config(args: argparse.Namespace) -> Path:
    """The file of --config, or the usual one.  Raises UsageError."""
    if args.site:
        raise UsageError("this command works with files of the site: it cannot be used with --site")
    if args.config:
        return Path(args.config)
    for name in USUAL_FILES:
        if Path(name).exists():
            return Path(name)
    raise UsageError(
        f"no configuration: neither --config FILE nor ./{' nor ./'.join(USUAL_FILES)}; `mailsrv init DIR` makes one"
    )


def options_of(args: argparse.Namespace) -> SiteOptions:
    """The loaded configuration; with --site what stands in its place.  Raises UsageError, ConfigError."""
    return cast(SiteOptions, remote_site(args)) if args.site else load(find_config(args))


def connect(options: SiteOptions) -> Client:
    """To the running server.  Raises NotReachable; Refused for a token that is not good."""
    if isinstance(options, RemoteSite):
        return RemoteClient(options.target)
    return Client(socket_of(options))


def _alone(options: SiteOptions, names: Sequence[str]) -> bool:
    """Whether operations can be done without a server."""
    # With all operations comes all of the server: what it can be asked needs none of that here.
    from ..host.control.run import needs_server

    return not isinstance(options, RemoteSite) and not any(map(needs_server, names))


def socket_of(options: SiteOptions) -> Path:
    """Where the running server listens: where the file says, or where it said when the server was started."""
    if not options.control.exists():
        try:
            return Path(json.loads((options.data / "ready.json").read_bytes())["control"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
    return options.control


def perform(options: SiteOptions, calls: Sequence[Call]) -> list[Any]:
    """The results of the operations in order: by the running server, else on the store itself.

    Raises Refused with the first "no", NotReachable when a server is needed or in the way but does not answer.
    """
    try:
        with connect(options) as client:
            return [_result(client.call(name, arguments)) for name, arguments in calls]
    except NotReachable as error:
        if not _alone(options, [name for name, _ in calls]):
            raise
        reason = error
    try:
        return _perform_alone(options, calls)
    except InUse as error:
        raise NotReachable(f"a server has the data folder, but: {reason.text}") from error


def _result(answer: Mapping[str, Any]) -> Any:
    """The result in an answer.  Raises Refused."""
    if "error" in answer:
        raise Refused(answer["error"], answer.get("status", "5.0.0"))
    if "warning" in answer:
        sys.stderr.write(f"mailsrv: {answer['warning']}\n")
    return answer.get("result")


def _perform_alone(options: SiteOptions, calls: Sequence[Call], send: Any = None) -> list[Any]:
    """Without a server: open the store, run the operations, close it.  Turns the reactor, so once in a process."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    from ..host.control.run import run
    from ..host.site import Site

    async def work() -> list[Any]:
        """All calls on one open site."""
        site = Site(options, reactor, options.base)
        try:
            await site.open()
            return [_result(await run(site, name, arguments, send=send)) for name, arguments in calls]
        finally:
            await site.close()

    return list(turn_reactor(reactor, lambda: Deferred.fromCoroutine(work())))


def follow(options: SiteOptions, call: Call, show: Callable[[Any], None]) -> Any:
    """The result of an operation that answers with a stream; `show` gets each item as it comes.

    By the running server, else on the store itself.  Raises Refused, NotReachable, what `show` raises.
    """
    try:
        client = connect(options)
    except NotReachable as error:
        if not _alone(options, [call[0]]):
            raise
        reason = error
    else:
        with client:
            return _follow(client.stream(*call), show)
    try:
        return _follow_alone(options, call, show)
    except InUse as error:
        raise NotReachable(f"a server has the data folder, but: {reason.text}") from error


def _follow(items: Generator[Any, None, Any], show: Callable[[Any], None]) -> Any:
    """Show item by item; the result."""
    try:
        while True:
            show(next(items))
    except StopIteration as end:
        return end.value
    finally:
        items.close()


def _follow_alone(options: SiteOptions, call: Call, show: Callable[[Any], None]) -> Any:
    """Without a server.  Turns the reactor, so once in a process."""
    from twisted.internet.defer import CancelledError

    broken: list[OSError] = []

    async def send(item: Any) -> None:
        """Show it; when it cannot be shown the stream ends."""
        try:
            show(item)
        except OSError as error:
            broken.append(error)
            raise CancelledError from error

    try:
        return _perform_alone(options, [call], send)[0]
    except Refused:
        if broken:
            raise broken[0] from None
        raise


def turn_reactor(reactor: Any, start: Callable[[], Any]) -> Any:
    """Run the reactor until what `start` gives has fired; its result, or its failure raised."""
    from twisted.python.failure import Failure

    outcome: list[Any] = []

    def done(result: Any) -> None:
        """Keep the result and stop."""
        outcome.append(result)
        if reactor.running:
            reactor.stop()

    reactor.callWhenRunning(lambda: start().addBoth(done))
    reactor.run()
    if not outcome:
        raise Refused("interrupted")
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


# ---------------------------------------------------------------- output


def emit(args: argparse.Namespace, data: Any, lines: Sequence[str]) -> int:
    """Print the data as JSON with --json, the lines otherwise; the exit status "done"."""
    sys.stdout.writelines(f"{line}\n" for line in ([_written(data)] if args.json else lines))
    return DONE


def _written(data: Any) -> str:
    """As JSON, indented; of a list each item in a line of its own: there may be many, and indenting is slow."""
    if not isinstance(data, list) or not data:
        return json.dumps(data, indent=1, ensure_ascii=False)
    return "[\n " + ",\n ".join(map(json.JSONEncoder(ensure_ascii=False).encode, data)) + "\n]"


def table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> list[str]:
    """Rows in columns under their heads; nothing but a hint when there are none."""
    if not rows:
        return ["(none)"]
    every = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*every)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in every]


# ---------------------------------------------------------------- passwords


def read_password(args: argparse.Namespace, what: str, confirm: bool = True) -> str:
    """From --password-file, else a prompt (twice to `confirm`), else a line of standard input.

    Raises ConfigError, Refused."""
    if args.password_file:
        return password_from(Path(args.password_file))
    if sys.stdin.isatty():
        first = getpass.getpass(f"Password for {what}: ")
        if confirm and getpass.getpass("Once more: ") != first:
            raise Refused("the two passwords differ")
        return first
    return sys.stdin.readline(MAX_PASSWORD_FILE).rstrip("\r\n")


def password_from(path: Path) -> str:
    """The first line of a file.  Raises ConfigError."""
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_PASSWORD_FILE)
        line = octets.decode("utf-8").split("\n", 1)[0].rstrip("\r")
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=str(path)) from error
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8", file=str(path)) from None
    if not line:
        raise ConfigError("no password in the first line", file=str(path), line=1)
    return line


# ---------------------------------------------------------------- parsers


def verb(verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """A parser for one verb, with --json and --config."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    common_arguments(parser, argparse.SUPPRESS, argparse.SUPPRESS)
    parser.set_defaults(run=run)
    return parser


def noun(nouns: Any, name: str, text: str) -> Any:
    """A parser for one noun, which needs a verb."""
    parser = nouns.add_parser(name, help=text, description=text)
    return parser.add_subparsers(metavar="VERB", required=True)


def common_arguments(parser: argparse.ArgumentParser, config: Any, as_json: Any) -> None:
    """--config and --json; SUPPRESS as default lets them stand before and after the verb."""
    parser.add_argument("--config", metavar="FILE", default=config, help="the configuration file")
    parser.add_argument("--json", action="store_true", default=as_json, help="stable output for programs")
    add_arguments(parser, config)
