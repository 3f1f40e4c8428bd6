"""Folders into which an ACME client puts certificates (floor 3): which pairs of files are there.

Three layouts, told by what is there, side by side if need be:

* certbot: ``NAME/fullchain.pem`` and ``NAME/privkey.pem``, the folder ``live``;
* lego and acme.sh's ``--install-cert``: ``NAME.crt`` and ``NAME.key``; lego writes a wildcard ``_.example.org``;
* acme.sh's own folder: ``NAME/fullchain.cer`` and ``NAME/NAME.key``, where NAME may end in ``_ecc``.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

#: Pairs of one folder, and entries of it that are looked at.
MAX_PAIRS, MAX_ENTRIES = 10_000, 50_000


@frozen
class Pair:
    """Where one certificate and its key lie.  `name` is what the folder calls it, a host name as a rule."""

    name: str
    certificate: Path
    key: Path


def pairs_in(folder: Path) -> list[Pair]:
    """The pairs of a folder by name; half of one is none.  Does not read them.  Raises OSError."""
    entries: dict[str, bool] = {}
    with os.scandir(folder) as found:
        for entry in found:
            if len(entries) >= MAX_ENTRIES:
                break
            entries[entry.name] = entry.is_dir()
    pairs = []
    for name, is_folder in entries.items():
        made = _inside(folder, name) if is_folder else _beside(folder, name, entries)
        if made is not None:
            pairs.append(made)
    return sorted(pairs, key=lambda pair: pair.name)[:MAX_PAIRS]


def _beside(folder: Path, name: str, entries: dict[str, bool]) -> Pair | None:
    """NAME.crt and NAME.key."""
    stem, dot, suffix = name.rpartition(".")
    # lego puts the authority's own certificate beside.
    if suffix != "crt" or not dot or not stem or stem.endswith(".issuer") or f"{stem}.key" not in entries:
        return None
    return Pair(_host(stem), folder / name, folder / f"{stem}.key")


def _inside(folder: Path, name: str) -> Pair | None:
    """What lies in a folder of that name."""
    # Plain texts: with thousands of folders, paths would take most of the time.
    within = os.path.join(folder, name)
    host = name.removesuffix("_ecc")
    for certificate, key in (("fullchain.pem", "privkey.pem"), ("fullchain.cer", f"{host}.key")):
        one, other = os.path.join(within, certificate), os.path.join(within, key)
        if os.path.exists(one) and os.path.exists(other):
            return Pair(_host(host), Path(one), Path(other))
    return None


def _host(stem: str) -> str:
    """The host that a file is named after."""
    return ("*" + stem[1:] if stem.startswith("_.") else stem).lower()
