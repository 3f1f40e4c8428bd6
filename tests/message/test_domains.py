"""Domains of other alphabets: IDNA of 2008, where no letter stands for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.message.domains import a_labels, u_labels


@pytest.mark.parametrize(
    ("name", "ascii_name"),
    [
        ("bücher.example", "xn--bcher-kva.example"), ("faß.example", "xn--fa-hia.example"),
        ("βόλος.example", "xn--nxasmm1c.example"), ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("a.example", "a.example"),
    ],
)  # fmt: skip
def test_rfc_5891_there_and_back(name: str, ascii_name: str) -> None:
    assert a_labels(name) == ascii_name and u_labels(ascii_name) == name


@pytest.mark.parametrize(
    "label", ["xn--", "xn--abc-", "xn--zvg", "xn--FA-HIA", "xn--Bcher-kva", "xn--a", "xn--99999999"]
)
def test_rfc_5891_5_4_what_is_no_a_label(label: str) -> None:
    with pytest.raises(UnicodeError):
        u_labels(f"{label}.example")


@given(st.text(alphabet="xn-abzß9.", max_size=30))
def test_a_name_is_read_as_what_it_is_written_as_or_not_at_all(text: str) -> None:
    try:
        found = u_labels(a_labels(text))
    except UnicodeError:
        return
    assert a_labels(found) == a_labels(text)
