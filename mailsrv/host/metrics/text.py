"""The text format of Prometheus, version 0.0.4 (floor 6): families of samples, each with its HELP and TYPE."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, frozen

#: What the page is, for Content-Type.
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


@frozen
class Family:
    """A metric.  `kind` is counter, gauge or histogram; the name of a counter ends in "_total", and units are whole
    seconds and octets ("bytes")."""

    name: str
    kind: str
    text: str


@define
class Histogram:
    """How many values were at most each of `bounds` (ascending); and their sum."""

    bounds: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    @classmethod
    def of(cls, *bounds: float) -> Histogram:
        """An empty one."""
        return cls(bounds, [0] * (len(bounds) + 1))

    def add(self, value: float) -> None:
        """One value more."""
        at = 0
        while at < len(self.bounds) and value > self.bounds[at]:
            at += 1
        self.counts[at] += 1
        self.total += value


def _escaped(text: str, quotes: bool = False) -> str:
    """A text as HELP and label values have it."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    """A sample's value."""
    return str(value) if isinstance(value, int) else repr(float(value)).removesuffix(".0")


class Page:
    """Samples in the order they are added, those of one family together."""

    def __init__(self) -> None:
        self._lines: dict[Family, list[str]] = {}

    def add(self, family: Family, value: float, **labels: str) -> None:
        """One sample."""
        self._sample(family, family.name, value, labels)

    def histogram(self, family: Family, values: Histogram) -> None:
        """All samples of a histogram."""
        bounds: Sequence[str] = [*map(_number, values.bounds), "+Inf"]
        count = 0
        for bound, more in zip(bounds, values.counts, strict=True):
            count += more
            self._sample(family, f"{family.name}_bucket", count, {"le": bound})
        self._sample(family, f"{family.name}_sum", values.total, {})
        self._sample(family, f"{family.name}_count", count, {})

    def _sample(self, family: Family, name: str, value: float, labels: dict[str, str]) -> None:
        shown = ",".join(f'{key}="{_escaped(text, True)}"' for key, text in labels.items())
        self._lines.setdefault(family, []).append(f"{name}{{{shown}}} {_number(value)}" if shown else
                                                  f"{name} {_number(value)}")  # fmt: skip

    def render(self) -> bytes:
        """The whole page."""
        lines = []
        for family, samples in self._lines.items():
            lines += [f"# HELP {family.name} {_escaped(family.text)}", f"# TYPE {family.name} {family.kind}", *samples]
        return "".join(f"{line}\n" for line in lines).encode()
