"""Domains of other alphabets (floor 1): between U-labels, as we keep them, and A-labels (RFC 5890, RFC 5891).

Not by Python's codec "idna": that is IDNA of 2003, for which a sharp s is "ss" and a final sigma a sigma, so mail for
faß.example would go to whoever has fass.example, and xn--fa-hia.example would be no domain at all.  Here nothing is
mapped: a name that is not in canonical form is one that nobody has.
"""

from __future__ import annotations

from unicodedata import normalize


def a_labels(domain: str) -> str:
    """A domain in ASCII (RFC 5891 section 4.4); it is in lower case and NFC already."""
    if domain.isascii():
        return domain
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in domain.split(".")
    )


def u_labels(domain: str) -> str:
    """A domain in ASCII and lower case with its U-labels.

    Raises UnicodeError where a label is none (RFC 5891 section 5.4: it must be what its U-label becomes), or would not
    be seen.
    """
    if "xn--" not in domain:
        return domain
    return ".".join(_u_label(label) if label.startswith("xn--") else label for label in domain.split("."))


def _u_label(label: str) -> str:
    text = label[4:].encode("ascii").decode("punycode")
    if not text.isprintable() or normalize("NFC", text).lower() != text or a_labels(text) != label:
        raise UnicodeError("no A-label")
    return text
