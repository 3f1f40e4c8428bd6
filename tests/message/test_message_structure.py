"""The part tree: RFC 2046 examples, malformed mail, the standard library as an oracle, and bounds."""

from __future__ import annotations

import email
from email import policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.message import structure
from mailsrv.message.structure import LEAF, MESSAGE, MULTIPART, Part, parse
from tests.properties import tries
from tests.timing import takes_at_most


def crlf(text: str) -> bytes:
    """Octets of a message written with bare line ends."""
    return text.encode().replace(b"\n", b"\r\n")


def outline(octets: bytes, part: Part) -> object:
    """Names and bodies, nested."""
    if part.kind == LEAF:
        return part.media.name.decode(), octets[part.body_start : part.body_end]
    return part.media.name.decode(), [outline(octets, child) for child in part.children]


def everything(root: Part) -> list[Part]:
    order = [root]
    for part in order:
        order.extend(part.children)
    return order


def check_offsets(octets: bytes, root: Part) -> None:
    """What must hold of any tree."""
    assert (root.header_start, root.body_end) == (0, len(octets))
    for part in everything(root):
        assert part.header_start <= part.body_start <= part.body_end <= len(octets)
        assert part.kind in (LEAF, MULTIPART, MESSAGE)
        assert bool(part.children) <= (part.kind != LEAF)
        if part.kind == MESSAGE:
            (child,) = part.children
            assert (child.header_start, child.body_end) == (part.body_start, part.body_end)
        at = part.body_start
        for child in part.children:
            assert at <= child.header_start and child.body_end <= part.body_end
            at = child.body_end


def test_rfc2046_5_1_1_multipart_example() -> None:
    octets = crlf(
        'MIME-Version: 1.0\nContent-type: multipart/mixed; boundary="simple boundary"\n\n'
        "This is the preamble.\n\n--simple boundary\n\nThis is implicitly typed plain US-ASCII text.\n"
        "It does NOT end with a linebreak.\n--simple boundary\nContent-type: text/plain; charset=us-ascii\n\n"
        "This is explicitly typed plain US-ASCII text.\nIt DOES end with a linebreak.\n\n--simple boundary--\n\n"
        "This is the epilogue.  It is also to be ignored.\n"
    )
    root = parse(octets)
    assert outline(octets, root) == (
        "multipart/mixed",
        [
            (
                "text/plain",
                b"This is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak.",
            ),
            ("text/plain", b"This is explicitly typed plain US-ASCII text.\r\nIt DOES end with a linebreak.\r\n"),
        ],
    )
    check_offsets(octets, root)


def test_rfc2046_5_1_5_parts_of_a_digest_are_messages() -> None:
    octets = crlf(
        "Content-Type: multipart/digest; boundary=d\n\n--d\n\nFrom: a@b\nSubject: one\n\nfirst\n"
        "--d\nContent-Type: text/plain\n\nplain\n--d--\n"
    )
    root = parse(octets)
    assert outline(octets, root) == (
        "multipart/digest",
        [("message/rfc822", [("text/plain", b"first")]), ("text/plain", b"plain")],
    )
    assert root.children[0].children[0].fields[b"subject"] == b"one"


CASES = {
    "empty": ("", ("text/plain", b"")),
    "only a body": ("\nbody", ("text/plain", b"body")),
    "only a header": ("Subject: x", ("text/plain", b"")),
    "boundary as prefix of another": (
        "Content-Type: multipart/mixed; boundary=ab\n\n--ab\nContent-Type: multipart/alternative; boundary=abc\n\n"
        "--abc\n\none\n--abc\n\ntwo\n--abc--\n--ab\n\nthree\n--ab--\n",
        (
            "multipart/mixed",
            [
                ("multipart/alternative", [("text/plain", b"one"), ("text/plain", b"two")]),
                ("text/plain", b"three"),
            ],
        ),
    ),
    "boundary ending in two dashes": (
        'Content-Type: multipart/mixed; boundary="x--"\n\n--x--\n\none\n--x----\nepilogue',
        ("multipart/mixed", [("text/plain", b"one")]),
    ),
    "lines that only begin like the boundary": (
        "Content-Type: multipart/mixed; boundary=ab\n\n--ab\n\n--abz\n--a\n--\n-- \n --ab\n--ab--x\n--ab--\n",
        ("multipart/mixed", [("text/plain", b"--abz\r\n--a\r\n--\r\n-- \r\n --ab\r\n--ab--x")]),
    ),
    "white space after the boundary": (
        "Content-Type: multipart/mixed; boundary=ab\n\n--ab \t\n\none\n--ab-- \n",
        ("multipart/mixed", [("text/plain", b"one")]),
    ),
    "no closing delimiter": (
        "Content-Type: multipart/mixed; boundary=ab\n\n--ab\n\none\n--ab\n\ntwo\n",
        ("multipart/mixed", [("text/plain", b"one"), ("text/plain", b"two\r\n")]),
    ),
    "closing delimiter without a line end": (
        "Content-Type: multipart/mixed; boundary=ab\n\n--ab\n\none\n--ab--",
        ("multipart/mixed", [("text/plain", b"one")]),
    ),
    "inner closing delimiter missing": (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n"
        "--a\n\ntwo\n--a--\n--b\n\nepilogue\n",
        ("multipart/mixed", [("multipart/mixed", [("text/plain", b"one")]), ("text/plain", b"two")]),
    ),
    "delimiters after the closing one": (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--a--\n--a\n\ntwo\n--a--\n",
        ("multipart/mixed", [("text/plain", b"one")]),
    ),
    "boundary that never occurs": ("Content-Type: multipart/mixed; boundary=a\n\nnothing\n", ("multipart/mixed", [])),
    "no boundary parameter": ("Content-Type: multipart/mixed\n\n--a\n", ("text/plain", b"--a\r\n")),
    "empty boundary": ('Content-Type: multipart/mixed; boundary=""\n\n--\n', ("text/plain", b"--\r\n")),
    "the same boundary inside": (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\none\n"
        "--a--\n--a\n\ntwo\n--a--\n",
        ("multipart/mixed", [("multipart/mixed", [("text/plain", b"one")]), ("text/plain", b"two")]),
    ),
    "part without a blank line": (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/html\n--a\nX: y\n--a--\n",
        ("multipart/mixed", [("text/html", b""), ("text/plain", b"")]),
    ),
    "empty parts": (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n--a\n\n--a\n\n\n--a--\n",
        ("multipart/mixed", [("text/plain", b""), ("text/plain", b""), ("text/plain", b"")]),
    ),
    "message cut in a header": (
        "Content-Type: message/rfc822\n\nSubject: x\nContent-Type: multipart/mixed; bound",
        ("message/rfc822", [("text/plain", b"")]),
    ),
    "message with nothing inside": ("Content-Type: message/rfc822", ("message/rfc822", [("text/plain", b"")])),
    "message without a blank line before the boundary": (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n--a--\n",
        ("multipart/mixed", [("message/rfc822", [("text/plain", b"")])]),
    ),
    "message in a message in a multipart": (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nContent-Type: message/global"
        "\n\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\nepilogue\n--a\n\ntwo\n--a--\n",
        (
            "multipart/mixed",
            [
                ("message/rfc822", [("message/global", [("multipart/mixed", [("text/plain", b"one")])])]),
                ("text/plain", b"two"),
            ],
        ),
    ),
    "malformed content types": (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text\n\n1\n--a\nContent-Type: /\n\n2\n"
        "--a\nContent-Type:\n\n3\n--a\nContent-Type: foo/bar; baz; =; x=\n\n4\n--a--\n",
        (
            "multipart/mixed",
            [("text/plain", b"1"), ("text/plain", b"2"), ("text/plain", b"3"), ("foo/bar", b"4")],
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_parts_of_real_and_malformed_mail(name: str) -> None:
    text, expected = CASES[name]
    octets = crlf(text)
    root = parse(octets)
    assert outline(octets, root) == expected
    check_offsets(octets, root)


def test_bare_line_feeds_are_line_ends() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--a\nX: y\r\n\r\ntwo\n--a--\n"
    assert outline(octets, parse(octets)) == ("multipart/mixed", [("text/plain", b"one"), ("text/plain", b"two")])


# ---------------------------------------------------------------- the standard library as an oracle

LINES = st.lists(
    st.sampled_from(["text", "", "-", "--", "--by", "--b1 x", "--b12x--", "-- ", "From x", "Subject: no"]), max_size=5
).map("\r\n".join)
BOUNDARIES = ["b", "b1", "b12", "=_c", "c--", "d:e", "f g"]


@st.composite
def entities(draw: st.DrawFn, free: tuple[str, ...], depth: int) -> str:
    """A well-formed entity; no boundary is used twice on the way down."""
    kind = draw(st.sampled_from(["text", "octets", "multi", "message"] if depth and free else ["text", "octets"]))
    if kind == "text":
        return "Content-Type: text/plain; charset=utf-8\r\n\r\n" + draw(LINES)
    if kind == "octets":
        return "X-Other: z\r\nContent-Type: application/octet-stream;\r\n\tname=x\r\n\r\n" + draw(LINES)
    if kind == "message":
        return "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n" + draw(entities(free, depth - 1))
    boundary = draw(st.sampled_from(free))
    rest = tuple(other for other in free if other != boundary)
    children = draw(st.lists(entities(rest, depth - 1), min_size=1, max_size=3))
    pieces = [f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n{draw(st.sampled_from(["", "preamble"]))}']
    pieces += [f"\r\n--{boundary}\r\n{child}" for child in children]
    pieces.append(f"\r\n--{boundary}--{draw(st.sampled_from(['', chr(13) + chr(10), chr(13) + chr(10) + 'epilogue']))}")
    return "".join(pieces)


def oracle(message: email.message.Message) -> object:
    name = message.get_content_type()
    payload = message.get_payload()
    if isinstance(payload, list):
        return name, [oracle(child) for child in payload]
    return name, payload.encode("ascii", "surrogateescape")


@given(entities(tuple(BOUNDARIES), 4))
@settings(max_examples=tries(200), deadline=None)
def test_the_tree_agrees_with_the_standard_library(text: str) -> None:
    octets = ("From: a@b\r\nMIME-Version: 1.0\r\n" + text).encode()
    root = parse(octets)
    check_offsets(octets, root)
    assert outline(octets, root) == oracle(email.message_from_bytes(octets, policy=policy.compat32))


# ---------------------------------------------------------------- bounds


def nested(depth: int, kind: str) -> bytes:
    if kind == "message":
        return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: x\r\n\r\nend"
    pieces = [b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth)]
    return b"".join(pieces) + b"\r\nend"


@pytest.mark.parametrize("kind", ["message", "multipart"])
def test_what_is_too_deep_is_opaque(kind: str) -> None:
    octets = nested(20_000, kind)
    root = parse(octets)
    check_offsets(octets, root)
    assert len(everything(root)) == structure.MAX_DEPTH + 1
    deepest = everything(root)[-1]
    assert (deepest.kind, deepest.media.name, deepest.body_end) == (LEAF, b"text/plain", len(octets))


def test_too_many_parts_are_opaque() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\n\r\nx\r\n" * (structure.MAX_PARTS + 500)
    root = parse(octets)
    check_offsets(octets, root)
    assert len(everything(root)) == structure.MAX_PARTS
    assert octets[root.children[-1].body_start : root.children[-1].body_end].count(b"--a") == 501


HEAD = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"


@pytest.mark.parametrize(
    "octets",
    [
        nested(99, "multipart") + b"\r\n--" * 2**18,
        nested(99, "multipart") + b"\r\n--b" * 2**18,
        nested(99, "message") + b"\r\n" * 2**19,
        nested(99, "message") + b"x: y\r\n" * 2**17,
        HEAD + b"--a\r\nx: y\r\n" * 2**16,
        HEAD + b"--a\r\nContent-Type: message/rfc822\r\n\r\n" * 2**15,
        b"Content-Type: text/plain" + b";" * 2**20 + b"\r\n\r\n",
        b"Content-Type: text/plain" + b"; a" * 2**18 + b"\r\n\r\n",
        b"Content-Type: text/plain" + b'; a="' * 2**18 + b"\r\n\r\n",
        b"Content-Type: text/plain" + b"".join(b"; a*%d=b" % n for n in range(10**5)) + b"\r\n\r\n",
        b"Content-Type: text/plain; a" + b"*1" * 2**19 + b"=1\r\n\r\n",
        b"To: a@b\r\n" * 2**17 + b"\r\n",
        b"To: " + b"\r\n " * 2**18 + b"\r\n\r\n",
        b"\n" * 2**20,
        b"--a" * 2**18,
    ],
    ids=range(15),
)
def test_a_megabyte_of_malice_takes_linear_time(octets: bytes) -> None:
    from mailsrv.message.summary import summarise

    takes_at_most(3, lambda: (check_offsets(octets, parse(octets)), summarise(octets)))


def test_lines_that_are_compared_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MAX_CANDIDATES", 10)
    for lines, parts in ((9, 2), (11, 1)):
        octets = HEAD + b"--a\r\n\r\n" + b"--ax\r\n" * lines + b"--a\r\n\r\nlast"
        root = parse(octets)
        check_offsets(octets, root)
        assert len(root.children) == parts


FRAGMENTS = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"\r",
        b"--",
        b"--a",
        b"--b",
        b"\r\n--a\r\n",
        b"\r\n--b\r\n",
        b"\r\n--a--\r\n",
        b"\r\n--b--\r\n",
        b"Content-Type: multipart/mixed; boundary=a\r\n",
        b"Content-Type: multipart/digest; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: text/html;\r\n charset*0=u;charset*1=tf-8\r\n",
        b'Content-Disposition: attachment; filename="a\\"b"\r\n',
        b"From: A <a@b>, c:d@e;\r\n",
        b"Subject: \xff\0\r\n",
        b"Content-Language: a, b\r\n",
        b"Content-ID: <x>\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"x",
        b" ",
        b"Date: Tue, 24 Nov 2026 04:00:00 +0000\r\n",
        b"\0",
        b"\x80",
        b"QUJD",
        b": ",
        b"Reply-To:\r\n",
        b"Sender: ,\r\n",
    ]
)
MESSAGES = st.lists(FRAGMENTS, max_size=40).map(b"".join) | st.binary(max_size=200)


@given(MESSAGES)
@settings(max_examples=tries(200), deadline=None)
def test_any_octets_have_a_tree(octets: bytes) -> None:
    check_offsets(octets, parse(octets))
