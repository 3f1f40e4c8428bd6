"""A strict reader of Prometheus' text format 0.0.4, for tests: whatever promtool would complain of raises."""

from __future__ import annotations

import re
from collections import defaultdict

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_HELP = re.compile(rf"# HELP ({_NAME}) ((?:[^\\]|\\\\|\\n)+)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram)")
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\\\|\\"|\\n)*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?[0-9.e+-]+|NaN|\+Inf)")
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\\\|\\"|\\n)*)"')

#: Sample name with its labels in order -> value.
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(page: bytes) -> Samples:
    """All samples of a page."""
    text = page.decode("utf-8")
    assert text.endswith("\n") and "\r" not in text and "\n\n" not in text
    samples: Samples = {}
    kinds: dict[str, str] = {}
    family, helped = "", ""
    for line in text.splitlines():
        if line.startswith("# HELP"):
            found = _HELP.fullmatch(line)
            assert found is not None and found[1] not in kinds, line
            assert found[2][0].isupper() or found[2][0].isdigit(), line
            helped = found[1]
        elif line.startswith("#"):
            found = _TYPE.fullmatch(line)
            assert found is not None and found[1] == helped, line
            family, kinds[found[1]] = found[1], found[2]
            assert (found[2] == "counter") == family.endswith("_total"), line
            assert not family.endswith(("_count", "_sum", "_bucket")), line
        else:
            found = _SAMPLE.fullmatch(line)
            assert found is not None, line
            suffix = found[1].removeprefix(family)
            assert suffix in (("_bucket", "_sum", "_count") if kinds[family] == "histogram" else ("",)), line
            labels = tuple((one[1], one[2]) for one in _PAIR.finditer(found[2] or ""))
            assert len({name for name, _ in labels}) == len(labels), line
            assert (found[1], labels) not in samples, f"twice: {line}"
            samples[found[1], labels] = float(found[3])
            assert kinds[family] == "gauge" or float(found[3]) >= 0, line
    _histograms(samples, kinds)
    return samples


def _histograms(samples: Samples, kinds: dict[str, str]) -> None:
    """Buckets grow, and the last one has everything."""
    for name in (name for name, kind in kinds.items() if kind == "histogram"):
        buckets = [(dict(labels)["le"], value) for (of, labels), value in samples.items() if of == f"{name}_bucket"]
        bounds, counts = [float(bound) for bound, _ in buckets], [value for _, value in buckets]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf") and counts == sorted(counts)
        assert counts[-1] == samples[f"{name}_count", ()] and (f"{name}_sum", ()) in samples


def of_server(samples: Samples, server: str) -> dict[str, float]:
    """Values of one server by name, with further labels as "name/value"."""
    found: dict[str, float] = defaultdict(float)
    for (name, labels), value in samples.items():
        if dict(labels).get("server") == server:
            found["/".join([name, *(text for label, text in labels if label != "server")])] = value
    return found
