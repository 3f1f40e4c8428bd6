"""RFC 8474: which conversation a message belongs to, told by its header."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mailsrv.message.head import Head, extract
from mailsrv.message.thread_id import of_head, thread_id

ROOT = thread_id(b"Message-ID: <root@x>\r\n\r\n")


def test_rfc8474_replies_are_in_the_thread_of_what_they_answer() -> None:
    assert re.fullmatch("T[0-9a-f]{32}", ROOT)
    assert thread_id(b"Message-ID: <a@x>\r\nIn-Reply-To: <root@x>\r\n\r\n") == ROOT
    assert thread_id(b"References: <root@x>\r\n <a@x> <b@x>\r\nIn-Reply-To: <b@x>\r\nMessage-ID: <c@x>\r\n\r\n") == ROOT
    # RFC 5256 section 3: needless quotes.
    assert thread_id(b'In-Reply-To: Your letter <"root"@x> of today\r\n\r\n') == ROOT
    assert thread_id(b"Subject: Re: root\r\nMessage-ID: <other@x>\r\n\r\n") != ROOT


def test_rfc8474_what_names_no_message_has_no_thread() -> None:
    assert thread_id(b"Subject: x\r\n\r\n") == thread_id(b"References: a b c\r\nMessage-ID: <>\r\n\r\n") == ""
    # Fields without an id in them are passed over.
    assert thread_id(b"References: none\r\nIn-Reply-To: Ann\r\nMessage-ID: <root@x>\r\n\r\n") == ROOT


def test_a_header_too_large_for_a_record_has_none() -> None:
    header = b"Message-ID: <root@x>\r\n" + b"To: someone@example.org\r\n" * 3000 + b"\r\n"
    assert thread_id(header) == ROOT and of_head(Head(extract(header))) == ""


@given(st.lists(st.sampled_from([b"References: ", b"Message-ID: ", b"In-Reply-To: ", b"<a@b>", b"<", b">", b'"', b"\\",
                                 b"\r\n", b"\r\n ", b" ", b"X: y\r\n"]), max_size=30))  # fmt: skip
def test_the_record_of_a_header_tells_the_same_as_the_header(pieces: list[bytes]) -> None:
    header = b"".join(pieces) + b"\r\n\r\n"
    assert of_head(Head(extract(header))) == thread_id(header)
