"""The table of operations: one annotated coroutine each, learnt by command line and wire alike (floor 4).

An operation takes the site first, then parameters of JSON types (text, number, flag, list), each annotated; a default
makes one optional.  It returns what JSON can hold and raises MailError for "no".
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import frozen

from ...errors import Refused
from ...parts import did_you_mean

Function = Callable[..., Coroutine[Any, Any, Any]]

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


@frozen
class Operation:
    """One operation.  `parameters` maps a name to (annotation, must be given); `secret` ones are never logged;
    `running`: makes sense only for a server that runs."""

    name: str
    function: Function
    parameters: Mapping[str, tuple[Any, bool]]
    secret: frozenset[str]
    running: bool

    @property
    def text(self) -> str:
        """What it does, in one line."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, all known and of their types.  Raises Refused."""
        for name, value in arguments.items():
            if name not in self.parameters:
                raise Refused(f'{self.name} has no parameter "{name}"{did_you_mean(name, self.parameters)}')
            title, test = _TYPES[self.parameters[name][0]]
            if not test(value):
                raise Refused(f'{self.name}: "{name}" must be {title}')
        for name, (_, needed) in self.parameters.items():
            if needed and name not in arguments:
                raise Refused(f'{self.name}: "{name}" must be given')
        return dict(arguments)


#: "noun.verb" -> Operation; filled when the modules of the nouns are imported (by `run`).
OPERATIONS: dict[str, Operation] = {}


def operation(name: str, *, secret: tuple[str, ...] = (), running: bool = False) -> Callable[[Function], Function]:
    """Register a coroutine function as the operation "noun.verb"."""

    def register(function: Function) -> Function:
        """Read its signature."""
        hints = typing.get_type_hints(function)
        parameters = {}
        for parameter in list(inspect.signature(function).parameters.values())[1:]:
            annotation = hints[parameter.name]
            if annotation not in _TYPES:
                raise TypeError(f"{name}: {parameter.name} has a type that JSON cannot carry")
            parameters[parameter.name] = (annotation, parameter.default is inspect.Parameter.empty)
        if name in OPERATIONS:
            raise TypeError(f"{name} is registered twice")
        OPERATIONS[name] = Operation(name, function, parameters, frozenset(secret), running)
        return function

    return register


def find_operation(name: str) -> Operation:
    """Raises Refused for a name that is none."""
    try:
        return OPERATIONS[name]
    except KeyError:
        raise Refused(f'no operation "{name}"{did_you_mean(name, OPERATIONS)}') from None
