"""Address lists: RFC 5322 sections 3.4, 4.4 and appendix A, and what real mail makes of them."""

from __future__ import annotations

from email.utils import formataddr, getaddresses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.message.addresses import MAX_ADDRESSES, parse_addresses
from tests.properties import tries
from tests.timing import takes_at_most

END = (None, None, None, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"john@example.org", [(None, None, b"john", b"example.org")]),
        (b"John Doe <jdoe@machine.example>", [(b"John Doe", None, b"jdoe", b"machine.example")]),
        # RFC 5322 appendix A.1.2
        (
            b'"Joe Q. Public" <john.q.public@example.com>',
            [(b"Joe Q. Public", None, b"john.q.public", b"example.com")],
        ),
        (
            b"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
            [
                (b"Mary Smith", None, b"mary", b"x.test"),
                (None, None, b"jdoe", b"example.org"),
                (b"Who?", None, b"one", b"y.test"),
            ],
        ),
        (
            b'<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>',
            [(None, None, b"boss", b"nil.test"), (b'Giant; "Big" Box', None, b"sysservices", b"example.net")],
        ),
        # RFC 5322 appendix A.1.3
        (
            b"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            [
                (None, None, b"A Group", None),
                (b"Ed Jones", None, b"c", b"a.test"),
                (None, None, b"joe", b"where.test"),
                (b"John", None, b"jdoe", b"one.test"),
                END,
            ],
        ),
        (b"Undisclosed recipients:;", [(None, None, b"Undisclosed recipients", None), END]),
        # RFC 5322 appendix A.5
        (b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", [(b"Pete", None, b"pete", b"silly.test")]),
        (
            b"A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n"
            b"         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
            [
                (None, None, b"A Group", None),
                (b"Chris Jones", None, b"c", b"public.example"),
                (None, None, b"joe", b"example.org"),
                (b"John", None, b"jdoe", b"one.test"),
                END,
            ],
        ),
        (
            b"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
            [(None, None, b"Hidden recipients", None), END],
        ),
        # RFC 5322 appendix A.6.1
        (
            b"Joe Q. Public <john.q.public@example.com>, Mary Smith <@node.test:mary@example.net>,"
            b" , jdoe@test  . example",
            [
                (b"Joe Q. Public", None, b"john.q.public", b"example.com"),
                (b"Mary Smith", b"@node.test", b"mary", b"example.net"),
                (None, None, b"jdoe", b"test.example"),
            ],
        ),
        (b"<@a.test,@b.test:x@c.test>, y@z", [(None, b"@a.test,@b.test", b"x", b"c.test"), (None, None, b"y", b"z")]),
        # RFC 822 habit: the name in a comment.
        (b"gray@cac.washington.edu (Terry Gray)", [(b"Terry Gray", None, b"gray", b"cac.washington.edu")]),
        (b'"john doe"@example.org', [(None, None, b"john doe", b"example.org")]),
        (b"user@[192.0.2.1]", [(None, None, b"user", b"[192.0.2.1]")]),
        (b"=?utf-8?Q?J=C3=B6rg?= <j@x>", [(b"=?utf-8?Q?J=C3=B6rg?=", None, b"j", b"x")]),
        (b"J\xc3\xb6rg <j@x>", [(b"J\xc3\xb6rg", None, b"j", b"x")]),
        # Broken mail.
        (b"root", [(None, None, b"root", b"")]),
        (b"John Doe", [(None, None, b"John Doe", b"")]),
        (b"<>", [(None, None, b"", b"")]),
        (b"MAILER-DAEMON <>", [(b"MAILER-DAEMON", None, b"", b"")]),
        (b"a@b; c@d", [(None, None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"Foo <a@b, Bar <c@d>", [(b"Foo", None, b"a", b"b"), (b"Bar", None, b"c", b"d")]),
        # What stands between two addresses belongs to neither.
        (b"Foo <a@b> Bar <c@d>", [(b"Foo", None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b'"unterminated <a@b>', [(None, None, b"unterminated <a@b>", b"")]),
        (b"a@b (unterminated", [(b"unterminated", None, b"a", b"b")]),
        (b"a@b@c", [(None, None, b"a@b", b"c")]),
        (b", ,,", []),
        (b"", []),
        (b"group: a@b, c@d", [(None, None, b"group", None), (None, None, b"a", b"b"), (None, None, b"c", b"d"), END]),
        (b"'Smith, John' <j@x>", [(None, None, b"'Smith", b""), (b"John'", None, b"j", b"x")]),
    ],
)
def test_rfc5322_3_4_addresses(value: bytes, expected: list[tuple[bytes | None, ...]]) -> None:
    assert parse_addresses(value) == expected


PIECES = [
    b"<", b">", b"@", b",", b";", b":", b"(", b")", b'"', b"\\", b"[", b"]", b" ", b"\t", b".", b"a", b"example.org",
    b"\xff", b"\0", b"a@b", b"Name <x@y>", b"\r\n ",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=100))
@settings(max_examples=tries(200), deadline=None)
def test_anything_is_read(value: bytes) -> None:
    depth = 0
    for name, route, mailbox, host in parse_addresses(value):
        if host is None:
            assert (name, route) == (None, None)
            depth += 1 if mailbox is not None else -1
        else:
            assert mailbox is not None
        assert depth in (0, 1)
    assert depth == 0


WORD = st.text(alphabet="abcdefgXYZ0123456789.-", min_size=1, max_size=10).filter(lambda word: ".." not in word)
NAME = st.text(alphabet='abc XYZ"\\,;<>@()', max_size=12).map(lambda name: " ".join(name.split()))


@given(st.lists(st.tuples(NAME, WORD.filter(lambda w: w.strip(".") == w), WORD), min_size=1, max_size=6))
@settings(max_examples=tries(150), deadline=None)
def test_what_the_standard_library_writes_is_read_alike(people: list[tuple[str, str, str]]) -> None:
    value = ", ".join(formataddr((name, f"{local}@{domain}")) for name, local, domain in people)
    ours = [
        ((name or b"").decode(), f"{(box or b'').decode()}@{(host or b'').decode()}")
        for name, _, box, host in parse_addresses(value.encode())
    ]
    assert ours == getaddresses([value])


@pytest.mark.parametrize(
    "unit",
    [
        b"(",
        b"<",
        b"<@a,",
        b'"',
        b"\\",
        b"@ : ",
        b"a:",
        b"a ",
        b"[",
        b"(a)",
        b"<a@b",
        b"a@b,",
        b";",
        b'"\\',
        b". ",
        b"a@",
    ],
)
def test_long_fields_take_linear_time(unit: bytes) -> None:
    value = unit * (2**17 // len(unit))
    found = takes_at_most(1, lambda: parse_addresses(value))
    assert len(found) <= MAX_ADDRESSES + 2
