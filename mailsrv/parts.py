"""Parts: stores, authenticators, mechanisms, policies, found by contract and name (floor 2a).

A part is one `Part` object in a module of `twisted/plugins/`, ours or of any installed distribution.  Its options
are an attrs class: each field is a key of the part's table in the configuration.  Fields made with `option()` say
how a value is read and what it is for; plain fields are checked against their annotation.

Classes and builders may be given as dotted text ("package.module:name"), so that a drop-in, which Twisted imports
for every `twistd` command, imports nothing else.
"""

from __future__ import annotations

import difflib
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

import attrs
from attrs import field, frozen
from twisted.plugin import IPlugin, getPlugins
from zope.interface import implementer
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from .errors import ConfigError
from .interfaces import IPart

# ---------------------------------------------------------------- how a value is read


@frozen
class Kind:
    """How one value of the configuration is read.

    `read(value)` gives what is kept, from the value as TOML gave it; raises ValueError with a text that
    completes "KEY: ...".  `name` is for the table of options.
    """

    name: str
    read: Callable[[Any], Any] = field(eq=False)


def _typed(name: str, wanted: type, hint: str) -> Kind:
    """A kind for exactly one type (a bool is no number)."""

    def read(value: Any) -> Any:
        """The value itself."""
        if type(value) is not wanted:
            raise ValueError(f"must be {hint}, not {value!r}")
        return value

    return Kind(name, read)


TEXT = _typed("text", str, 'text in quotes, for example "x"')
FLAG = _typed("flag", bool, "true or false")
WHOLE = _typed("number", int, "a whole number")
ANY = Kind("value", lambda value: value)


def _read_texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(type(item) is str for item in value):
        raise ValueError(f'must be a list of texts, for example ["a", "b"], not {value!r}')
    return tuple(value)


TEXTS = Kind("list of texts", _read_texts)


def whole(low: int, high: int) -> Kind:
    """A whole number of low..high."""

    def read(value: Any) -> int:
        """The number, in its range."""
        number: int = WHOLE.read(value)
        if not low <= number <= high:
            raise ValueError(f"must be {low} to {high}, not {number}")
        return number

    return Kind(f"number {low}..{high}", read)


def choice(*names: str) -> Kind:
    """One of these words."""

    def read(value: Any) -> str:
        """The word."""
        if value not in names or type(value) is not str:
            raise ValueError(f"must be one of {quoted(names)}, not {value!r}{did_you_mean(value, names)}")
        return value

    return Kind(" | ".join(names), read)


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_OCTETS = {"K": 2**10, "M": 2**20, "G": 2**30}


def _with_unit(value: str, units: Mapping[str, int]) -> int | None:
    """The number a text like "10M" stands for; None when it is no such text."""
    digits, unit = value[:-1].strip(), value[-1:]
    if unit not in units or not digits.isascii() or not digits.isdigit() or len(digits) > 12:
        return None
    return int(digits) * units[unit]


def _read_duration(value: Any) -> float:
    """Seconds of "30s", "10m", "12h", "2d"."""
    seconds = _with_unit(value, _SECONDS) if type(value) is str else None
    if not seconds:
        raise ValueError(f'must be a duration such as "30s", "10m", "12h" or "2d", not {value!r}')
    return float(seconds)


def _read_size(value: Any) -> int:
    """Octets of "4096K", "10M", "1G" or a plain number."""
    octets = value if type(value) is int else _with_unit(value, _OCTETS) if type(value) is str else None
    if type(value) is str and octets is None and value.isascii() and value.isdigit() and len(value) <= 15:
        octets = int(value)
    if octets is None or octets <= 0:
        raise ValueError(f'must be a size such as "4096K" or "10M" or a number of octets, not {value!r}')
    return octets


DURATION = Kind("duration", _read_duration)
SIZE = Kind("size", _read_size)


def or_off(kind: Kind) -> Kind:
    """The kind, or "off" (or 0), which is kept as None: no limit."""

    def read(value: Any) -> Any:
        """None for off."""
        if (type(value) is int and value == 0) or value == "off":
            return None
        try:
            return kind.read(value)
        except ValueError as error:
            raise ValueError(f'{error}; "off" switches the limit off') from None

    return Kind(f"{kind.name} or off", read)


# ---------------------------------------------------------------- tables of options


def option(kind: Kind, default: Any, text: str, **more: Any) -> Any:
    """An attrs field that is a key; `default` may be an attrs Factory, or NOTHING: it must be given."""
    return field(default=default, metadata={"kind": kind, "text": text, **more})


@frozen
class Place:
    """Where in which file a table stands, for messages.  `line_of` gives the line of a dotted path or None."""

    path: tuple[str, ...] = ()
    file: str = ""
    line_of: Callable[[tuple[str, ...]], int | None] = field(default=lambda path: None, eq=False)

    def at(self, *keys: str) -> Place:
        """The place of a table inside this one."""
        return Place(self.path + keys, self.file, self.line_of)

    def error(self, text: str, *keys: str) -> ConfigError:
        """A ConfigError (to be raised, or kept as a warning) about a key of this table, or the table itself."""
        path = self.path + keys
        return ConfigError(text, file=self.file, line=self.line_of(path), key=dotted(path))


def dotted(path: Iterable[str]) -> str:
    """A path as TOML writes it: names that hold a dot or a space in quotes."""
    return ".".join(
        name if name and all(c.isalnum() or c in "-_" for c in name) else f'"{name}"' for name in path
    )


def quoted(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(f'"{name}"' for name in names)


#: Characters of a misspelt word that are looked at.
MAX_GUESSED = 100


def did_you_mean(word: Any, names: Iterable[str]) -> str:
    """' (did you mean "x"?)', or nothing."""
    # Looking takes time by the length; a name is not that long.
    close = difflib.get_close_matches(str(word)[:MAX_GUESSED], list(names), 1, 0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


_PLAIN = {str: TEXT, int: WHOLE, bool: FLAG, tuple[str, ...]: TEXTS, list[str]: TEXTS}


def fields_of(options: type) -> dict[str, attrs.Attribute[Any]]:
    """The keys of an attrs class of options."""
    return {f.alias: f for f in attrs.fields(options) if f.init and not f.metadata.get("derived")}


def kind_of(options: type, name: str) -> Kind:
    """How that key is read; a plain field with a converter, or of a type we have no rule for, takes anything."""
    entry = fields_of(options)[name]
    if "kind" in entry.metadata:
        kind: Kind = entry.metadata["kind"]
        return kind
    if entry.converter is not None:
        return ANY
    return _PLAIN.get(typing.get_type_hints(options).get(entry.name), ANY)


def read_table(options: type, table: Mapping[str, Any], place: Place, **derived: Any) -> Any:
    """An instance of the attrs class `options` from a table of TOML values.

    `derived` are fields that are not keys.  Raises ConfigError for an unknown, wrong or missing key.
    """
    fields = fields_of(options)
    values = dict(derived)
    for key, value in table.items():
        if key not in fields:
            known = f"; known here: {quoted(sorted(fields))}" if fields else "; there are no options here"
            raise place.error(f"unknown key{did_you_mean(key, fields) or known}", key)
        try:
            values[key] = kind_of(options, key).read(value)
        except ValueError as error:
            raise place.error(str(error), key) from None
    for key, entry in fields.items():
        if entry.default is attrs.NOTHING and key not in values:
            text = entry.metadata.get("text", "")
            raise place.error(f'the key "{key}" must be given' + (f": {text}" if text else ""))
    try:
        return options(**values)
    except (TypeError, ValueError) as error:
        raise place.error(str(error)) from error


# ---------------------------------------------------------------- parts


def named(path: str) -> Any:
    """What "package.module:name" names.  Raises ImportError, AttributeError."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@frozen
class NoOptions:
    """Options of a part that has none."""


@implementer(IPart, IPlugin)
@frozen
class Part:
    """One part: `Part(contract, name, options, build)`; `options` None: it has no options."""

    contract: Any
    name: str
    _options: Any = None
    _builder: Any = field(default=None, alias="build")
    #: The file that defines it.
    source: str = field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        # Two frames up: past the generated __init__ stands the drop-in, which errors cite.
        object.__setattr__(self, "source", sys._getframe(2).f_code.co_filename)

    @property
    def options(self) -> type:
        """The attrs class of its options."""
        found = self._resolve(self._options) if self._options is not None else NoOptions
        return typing.cast(type, found)

    @property
    def builder(self) -> Callable[[Any, Any], Any]:
        """What makes it from (options, site)."""
        return typing.cast(Callable[[Any, Any], Any], self._resolve(self._builder))

    def read(self, table: Mapping[str, Any], place: Place | None = None) -> Any:
        """Its options from a table of the configuration.  Raises ConfigError."""
        return read_table(self.options, table, place or Place())

    def build(self, options: Any, site: Any) -> Any:
        """A provider of the contract, or what makes one for each connection (`for_connection`).

        Raises ConfigError, also when what was built does not provide it."""
        provider = self.builder(options, site)
        each = getattr(provider, "for_connection", None)
        try:
            verifyObject(self.contract, provider if each is None else each())
        except Invalid as error:
            raise ConfigError(f"{self.title} of {self.source} does not keep its contract: {error}") from error
        return provider

    @property
    def title(self) -> str:
        """Contract and name, for messages."""
        return f"the part {self.contract.__name__} {self.name!r}"

    def _resolve(self, what: Any) -> Any:
        """A class or function, which may be given as dotted text."""
        if not isinstance(what, str):
            return what
        try:
            return named(what)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{self.title} of {self.source} cannot be loaded: {error}") from error


def all_parts() -> list[Part]:
    """Every installed part, by contract and name.  Raises ConfigError when two share both."""
    found: dict[tuple[str, str], Part] = {}
    for part in getPlugins(IPart):
        key = (part.contract.__identifier__, part.name)
        other = found.setdefault(key, part)
        if other is not part:
            raise ConfigError(f"{part.title} is defined twice: in {other.source} and in {part.source}")
    return [found[key] for key in sorted(found)]


#: Parts whose place is remembered.
MAX_FOUND = 1000


@lru_cache(MAX_FOUND)
def find(contract: Any, name: str) -> Part:
    """The part of that contract and name.  Raises ConfigError that names those installed.

    What was found once is not looked for again: that takes a millisecond, and a change of options asks hundreds of
    times.
    """
    names = []
    for part in all_parts():
        if part.contract is contract:
            if part.name == name:
                return part
            names.append(part.name)
    known = did_you_mean(name, names) or f"; installed: {quoted(names) or 'none'}"
    raise ConfigError(f'no part "{name}" provides {contract.__name__}{known}')
