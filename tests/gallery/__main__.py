"""Write every rendering of the gallery anew: `python -m tests.gallery`."""

from __future__ import annotations

from . import RENDERED, renderings

for old in RENDERED.rglob("*.eml"):
    old.unlink()
for path, octets in renderings().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)
