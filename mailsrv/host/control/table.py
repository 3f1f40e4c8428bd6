"""The table of operations: one annotated coroutine each, learnt by command line and wire alike (floor 4).

An operation takes the site first, then parameters of JSON types (text, number, flag, list), each annotated; a default
makes one optional.  It returns what JSON can hold and raises MailError for "no".  A parameter annotated `Asker` is no
argument: it is given who asks.

An operation of many items, or of items that come one by one, is registered with `stream=True` and is an async
generator of what JSON can hold; each item is on its way before the next is asked for.  Its last item may be an `End`,
which holds the result; without one the result is ``{"items": count}``.  When nobody listens any more, CancelledError
is raised where the generator waits, or it is closed: it undoes what it began in a `finally`.  Items that come by
themselves wait in a `Feed` (`mailsrv.host.events`), whose room is bounded.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen

from ...auth.patterns import fold
from ...errors import Refused
from ...parts import did_you_mean
from ...values import Identity
from ..config.values import HOSTNAME
from .common import MAX_ADDRESS, address_of

#: Characters of a name that is none, as it is told.
MAX_SHOWN = 100

#: Verbs of operations that only show what there is.
LOOKING = frozenset({
    "list", "show", "status", "summary", "simulate", "records", "get", "explain", "follow", "text", "versions",
    "rights", "annotations", "search",
})
#: Verbs of operations that change nothing either, but make the site do something.
TRYING = frozenset({"test", "check", "lookup", "verify", "verify_backup", "backup_wait"})
#: Which of its calls are in the audit log: none; all; one of those that the same asker makes on the same thing within
#: ten minutes, for work on mail, message by message.
NEVER, ALWAYS, ONCE = "never", "always", "once"

#: A coroutine function, or an async generator function.
Function = Callable[..., Any]
#: What an operation is done to, from its checked arguments: "" (the site), "domain/NAME", "server/ID", "user/ADDRESS".
Resource = Callable[[Mapping[str, Any]], str]

#: Annotation -> (what it is called, test).
_TYPES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("text", lambda value: isinstance(value, str)),
    int: ("a whole number", lambda value: type(value) is int),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    list[str]: ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value)),
    list[dict[str, str]]: (
        "a list of objects with texts",
        lambda value: isinstance(value, list)
        and all(isinstance(v, dict) and all(isinstance(t, str) for t in v.values()) for v in value),
    ),
}


def whole_site(arguments: Mapping[str, Any]) -> str:
    """The resource of what is done to no single thing."""
    return ""


def of_address(arguments: Mapping[str, Any], key: str = "address") -> str:
    """The resource of what is done to an account or alias.  Raises Refused."""
    return f"user/{fold(str(address_of(arguments[key])))}" if arguments.get(key) else ""


def of_domain(arguments: Mapping[str, Any], key: str = "domain") -> str:
    """The resource of what is done to a domain; "" without one.  Raises Refused."""
    name = arguments.get(key, "")
    if len(name) > MAX_ADDRESS:
        raise Refused(f'"{name[:MAX_SHOWN]}" is no domain')
    try:
        return f"domain/{HOSTNAME.read(name)}" if name else ""
    except ValueError as error:
        raise Refused(str(error)) from None


def of_server(arguments: Mapping[str, Any], key: str = "server") -> str:
    """The resource of what is done to a virtual server; "" without one."""
    return f"server/{arguments[key]}" if arguments.get(key) else ""


_BY_PARAMETER: dict[str, Resource] = {"address": of_address, "domain": of_domain, "server": of_server}


def resource_by(parameters: Iterable[str]) -> Resource:
    """How the resource is found where nothing else is said."""
    named = [_BY_PARAMETER[name] for name in parameters if name in _BY_PARAMETER]
    return named[0] if len(named) == 1 else whole_site


@frozen
class Asker:
    """Who asks for an operation: `identity` (None: nobody), and `peer`, the address of a remote one."""

    identity: Identity | None
    peer: str = ""

    @property
    def who(self) -> str:
        """As logs name it: "unix:anna"."""
        return "nobody" if self.identity is None else self.identity.authcid


@frozen
class End:
    """The last item of a stream: its result."""

    result: Any


@frozen
class Operation:
    """One operation.  `parameters` maps a name to (annotation, must be given); `secret` ones are never logged;
    `running`: makes sense only for a server that runs; `resource` tells what roles must cover; `stream`: it is an async
    generator; `asker` is the name of the parameter that is given who asks, or ""; `audit` is NEVER, ALWAYS or ONCE."""

    name: str
    function: Function
    parameters: Mapping[str, tuple[Any, bool]]
    secret: frozenset[str]
    running: bool
    resource: Resource = whole_site
    stream: bool = False
    asker: str = ""
    audit: str = NEVER

    @property
    def looks(self) -> bool:
        """It only shows what there is."""
        return self.name.partition(".")[2] in LOOKING and self.audit == NEVER

    @property
    def text(self) -> str:
        """What it does, in one line."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, all known and of their types.  Raises Refused."""
        for name, value in arguments.items():
            if name not in self.parameters:
                raise Refused(f'{self.name} has no parameter "{name[:MAX_SHOWN]}"{did_you_mean(name, self.parameters)}')
            title, test = _TYPES[self.parameters[name][0]]
            if not test(value):
                raise Refused(f'{self.name}: "{name}" must be {title}')
        for name, (_, needed) in self.parameters.items():
            if needed and name not in arguments:
                raise Refused(f'{self.name}: "{name}" must be given')
        return dict(arguments)


#: "noun.verb" -> Operation; filled when the modules of the nouns are imported (by `run`).
OPERATIONS: dict[str, Operation] = {}


def operation(
    name: str,
    *,
    secret: tuple[str, ...] = (),
    running: bool = False,
    resource: Resource | None = None,
    stream: bool = False,
    audit: str = "",
) -> Callable[[Function], Function]:
    """Register a coroutine function, or with `stream` an async generator function, as the operation "noun.verb".

    Without `resource`: the one parameter of `address`, `domain`, `server` says what it is done to; with none of them,
    or several, it is done to the site.  Without `audit`: NEVER for the verbs of LOOKING and TRYING, ALWAYS for others.
    """

    def register(function: Function) -> Function:
        """Read its signature."""
        hints = typing.get_type_hints(function)
        parameters = {}
        asker = ""
        if inspect.isasyncgenfunction(function) is not stream:
            raise TypeError(f"{name}: an operation with stream=True, and no other, is an async generator function")
        for parameter in list(inspect.signature(function).parameters.values())[1:]:
            annotation = hints[parameter.name]
            if annotation is Asker:
                asker = parameter.name
                continue
            if annotation not in _TYPES:
                raise TypeError(f"{name}: {parameter.name} has a type that JSON cannot carry")
            parameters[parameter.name] = (annotation, parameter.default is inspect.Parameter.empty)
        if name in OPERATIONS:
            raise TypeError(f"{name} is registered twice")
        found = resource or resource_by(parameters)
        kept = audit or (NEVER if name.partition(".")[2] in LOOKING | TRYING else ALWAYS)
        OPERATIONS[name] = Operation(name, function, parameters, frozenset(secret), running, found, stream, asker, kept)
        return function

    return register


def find_operation(name: str) -> Operation:
    """Raises Refused for a name that is none."""
    try:
        return OPERATIONS[name]
    except KeyError:
        raise Refused(f'no operation "{name[:MAX_SHOWN]}"{did_you_mean(name, OPERATIONS)}') from None
