"""One command at a time: what each row of the table reads, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from mailsrv.numbers import NumSet, UidSet
from mailsrv.wire import imap_requests as r
from mailsrv.wire.imap_commands import AUTHENTICATED, NOT_AUTHENTICATED, ROWS, SELECTED, read


def given(text: bytes, state: str = SELECTED, literals: list[bytes] | None = None) -> Any:
    """The event of a command with tag ``a``; a NUL stands for each literal."""
    return read(b"a " + text, state, literals or [], 16)[0]


def invalid(text: bytes, state: str = SELECTED, literals: list[bytes] | None = None) -> str:
    event = given(text, state, literals)
    assert type(event) is r.Invalid and event.tag == b"a" and not event.fatal, event
    return event.text


@pytest.mark.parametrize("name", [row.name for row in ROWS if row.request is r.Simple])
def test_simple_commands(name: str) -> None:
    row = next(row for row in ROWS if row.name == name)
    state = min(row.states)
    assert given(name.encode(), state) == r.Simple(b"a", name)
    assert given(name.lower().encode(), state) == r.Simple(b"a", name)
    assert "Unexpected" in invalid(name.encode() + b" x", state)
    assert "Unexpected" in invalid(name.encode() + b" ", state)


GOOD: list[tuple[bytes, str, Any]] = [
    (b'LOGIN joe "p w"', NOT_AUTHENTICATED, r.Login(b"a", "LOGIN", "joe", "p w")),
    (b'LOGIN "j\xc3\xb6" ""', NOT_AUTHENTICATED, r.Login(b"a", "LOGIN", "jö", "")),
    (b"AUTHENTICATE plain", NOT_AUTHENTICATED, r.Authenticate(b"a", "AUTHENTICATE", "PLAIN", None)),
    # mutt with GNU SASL
    (b"AUTHENTICATE CRAM-MD5 ", NOT_AUTHENTICATED, r.Authenticate(b"a", "AUTHENTICATE", "CRAM-MD5", None)),
    (b"AUTHENTICATE PLAIN =", NOT_AUTHENTICATED, r.Authenticate(b"a", "AUTHENTICATE", "PLAIN", b"")),
    (b"AUTHENTICATE PLAIN AGEAYg==", NOT_AUTHENTICATED, r.Authenticate(b"a", "AUTHENTICATE", "PLAIN", b"\0a\0b")),
    (b"SELECT inbox", AUTHENTICATED, r.Select(b"a", "SELECT", "INBOX")),
    (
        b"EXAMINE x (CONDSTORE QRESYNC (67890007 12 41,43:211 (1 2)))",
        AUTHENTICATED,
        r.Select(
            b"a",
            "EXAMINE",
            "x",
            {
                "CONDSTORE": None,
                "QRESYNC": r.Qresync(
                    67890007, 12, UidSet([(41, 41), (43, 211)]), (UidSet([(1, 1)]), UidSet([(2, 2)]))
                ),
            },
        ),
    ),
    (b"CREATE Entw&APw-rfe", AUTHENTICATED, r.Create(b"a", "CREATE", "Entwürfe")),
    (b"CREATE x (USE (\\Sent \\Drafts))", AUTHENTICATED, r.Create(b"a", "CREATE", "x", (b"\\Sent", b"\\Drafts"))),
    (b"CREATE x (USE ())", AUTHENTICATED, r.Create(b"a", "CREATE", "x", ())),
    (b'DELETE "a b"', AUTHENTICATED, r.Named(b"a", "DELETE", "a b")),
    (b"SUBSCRIBE x", AUTHENTICATED, r.Named(b"a", "SUBSCRIBE", "x")),
    (b"UNSUBSCRIBE x", SELECTED, r.Named(b"a", "UNSUBSCRIBE", "x")),
    (b"RENAME x y", AUTHENTICATED, r.Rename(b"a", "RENAME", "x", "y")),
    (b'LIST "" ""', AUTHENTICATED, r.List(b"a", "LIST", "", ("",))),
    (b'LIST "" %', AUTHENTICATED, r.List(b"a", "LIST", "", ("%",))),
    (b'LSUB "x/" *', AUTHENTICATED, r.List(b"a", "LSUB", "x/", ("*",))),
    (
        b'LIST (SUBSCRIBED) "" "*" RETURN (SPECIAL-USE)',
        AUTHENTICATED,
        r.List(b"a", "LIST", "", ("*",), frozenset({"SUBSCRIBED"}), frozenset({"SPECIAL-USE"}), (), True),
    ),
    (
        b'LIST () "" (INBOX "a%" *) RETURN (STATUS (MESSAGES UNSEEN) CHILDREN subscribed)',
        AUTHENTICATED,
        r.List(
            b"a", "LIST", "", ("INBOX", "a%", "*"), frozenset(), frozenset({"STATUS", "CHILDREN", "SUBSCRIBED"}),
            ("MESSAGES", "UNSEEN"), True,
        ),
    ),
    (b'LIST "" * RETURN ()', AUTHENTICATED, r.List(b"a", "LIST", "", ("*",), extended=True)),
    (
        b"STATUS x (messages UNSEEN messages SIZE)",
        AUTHENTICATED,
        r.Status(b"a", "STATUS", "x", ("MESSAGES", "UNSEEN", "SIZE")),
    ),
    (b"ID NIL", NOT_AUTHENTICATED, r.Id(b"a", "ID", {})),
    (b"ID ()", NOT_AUTHENTICATED, r.Id(b"a", "ID", {})),
    (b'ID ("name" "x" "os" NIL)', SELECTED, r.Id(b"a", "ID", {"name": "x", "os": None})),
    (b"ENABLE UTF8=ACCEPT condstore", AUTHENTICATED, r.Enable(b"a", "ENABLE", ("UTF8=ACCEPT", "CONDSTORE"))),
    (b"UID EXPUNGE 3:5", SELECTED, r.UidExpunge(b"a", "UID EXPUNGE", NumSet([(3, 5)]))),
    (b"STORE 1 flags ()", SELECTED, r.Store(b"a", "STORE", NumSet([(1, 1)]), "replace", False, ())),
    (
        b"uid store 1:* +FLAGS.SILENT \\Deleted $x",
        SELECTED,
        r.Store(b"a", "UID STORE", NumSet([(1, 0)]), "add", True, (b"\\Deleted", b"$x")),
    ),
    (
        b"STORE 1 (UNCHANGEDSINCE 12) -FLAGS (x)",
        SELECTED,
        r.Store(b"a", "STORE", NumSet([(1, 1)]), "remove", False, (b"x",), {"UNCHANGEDSINCE": 12}),
    ),
    (b"COPY 1,3 x", SELECTED, r.Copy(b"a", "COPY", NumSet([(1, 1), (3, 3)]), "x")),
    (b"UID MOVE $ inbox", SELECTED, r.Copy(b"a", "UID MOVE", NumSet(saved=True), "INBOX")),
    (
        b"UID FETCH 1:* FLAGS (CHANGEDSINCE 5 VANISHED)",
        SELECTED,
        r.Fetch(
            b"a", "UID FETCH", NumSet([(1, 0)]), (r.FetchItem("FLAGS"),), {"CHANGEDSINCE": 5, "VANISHED": None}
        ),
    ),
]


@pytest.mark.parametrize(("text", "state", "event"), GOOD, ids=[row[0].decode("latin-1") for row in GOOD])
def test_arguments(text: bytes, state: str, event: Any) -> None:
    assert given(text, state) == event


def test_arguments_may_be_literals() -> None:
    assert given(b"LOGIN \0 \0", NOT_AUTHENTICATED, [b"joe", b"x\r\ny"]) == r.Login(b"a", "LOGIN", "joe", "x\r\ny")
    assert given(b"RENAME \0 y", SELECTED, [b"inbox"]) == r.Rename(b"a", "RENAME", "INBOX", "y")
    assert "NUL" in invalid(b"LOGIN \0 x", NOT_AUTHENTICATED, [b"j\0e"])
    assert invalid(b"LOGIN ~\0 x", NOT_AUTHENTICATED, [b"joe"])


BAD: list[tuple[bytes, str]] = [
    (b"LOGIN joe", NOT_AUTHENTICATED),
    (b"LOGIN joe x y", NOT_AUTHENTICATED),
    (b"LOGIN  joe x", NOT_AUTHENTICATED),
    (b'LOGIN "\xff" x', NOT_AUTHENTICATED),
    (b'LOGIN joe "x\ny"', NOT_AUTHENTICATED),
    (b"AUTHENTICATE", NOT_AUTHENTICATED),
    (b"AUTHENTICATE PLAIN A", NOT_AUTHENTICATED),
    (b"AUTHENTICATE PLAIN AGEAYg== x", NOT_AUTHENTICATED),
    (b"SELECT", AUTHENTICATED),
    (b"SELECT a b", AUTHENTICATED),
    (b"SELECT a ()", AUTHENTICATED),
    (b"SELECT a (X (1 (2 (3))))", AUTHENTICATED),
    (b"SELECT a (X " + b"(" * 5000 + b")", AUTHENTICATED),
    (b"SELECT a (" + b" ".join(b"x%d" % n for n in range(101)) + b")", AUTHENTICATED),
    (b"SELECT &bad", AUTHENTICATED),
    (b'SELECT "caf\xc3\xa9"', AUTHENTICATED),
    (b"CREATE x (USE \\Sent)", AUTHENTICATED),
    (b"CREATE x (FOO (\\Sent))", AUTHENTICATED),
    (b"CREATE x (USE (Sent))", AUTHENTICATED),
    (b"RENAME x", AUTHENTICATED),
    (b'LIST ""', AUTHENTICATED),
    (b'LIST (FOO) "" *', AUTHENTICATED),
    (b'LIST (RECURSIVEMATCH) "" *', AUTHENTICATED),
    (b'LIST "" () ', AUTHENTICATED),
    (b'LIST "" * RETURN (FOO)', AUTHENTICATED),
    (b'LIST "" * RETURN (STATUS)', AUTHENTICATED),
    (b'LIST "" * RETURN (STATUS ())', AUTHENTICATED),
    (b'LIST "" * FOO ()', AUTHENTICATED),
    (b'LIST "" (' + b"a " * 100 + b"b)", AUTHENTICATED),
    (b'LSUB "" (a b)', AUTHENTICATED),
    (b"STATUS x ()", AUTHENTICATED),
    (b"STATUS x MESSAGES", AUTHENTICATED),
    (b"STATUS x (FOO)", AUTHENTICATED),
    (b"STATUS x (HIGHESTMODSEQ 1)", AUTHENTICATED),
    *(
        (b"SELECT x (QRESYNC %b)" % argument, AUTHENTICATED)
        for argument in (
            b"", b"()", b"1", b"(1)", b"(0 1)", b"(1 x)", b"(4294967296 1)", b"(1 9223372036854775808)", b"(1 1 )",
            b"(1 1 *)", b"(1 1 1:*)", b"(1 1 $)", b"(1 1 1 ())", b"(1 1 1 (1))", b"(1 1 (1 2:3))", b"(1 1 (1 *))",
            b"(1 1 1 (1 1)", b"(1 1 1 (1 1) 1)", b"(1 1 (1 1) 1)", b"(1 1 1 1)", b"(1 1 (1 1 1))",
        )
    ),
    (b"SELECT x (CONDSTORE 1)", AUTHENTICATED),
    (b"SELECT x (CONDSTORE CONDSTORE)", AUTHENTICATED),
    (b"FETCH 1 FLAGS (CHANGEDSINCE)", SELECTED),
    (b"FETCH 1 FLAGS (CHANGEDSINCE (1))", SELECTED),
    (b"FETCH 1 FLAGS (CHANGEDSINCE 1:2)", SELECTED),
    (b"FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)", SELECTED),
    (b"STORE 1 (UNCHANGEDSINCE) FLAGS ()", SELECTED),
    (b"STORE 1 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 1) FLAGS ()", SELECTED),
    (b"SEARCH MODSEQ", SELECTED),
    (b"SEARCH MODSEQ x", SELECTED),
    (b'SEARCH MODSEQ "/flags/x" 1', SELECTED),
    (b'SEARCH MODSEQ "/flags/x" some 1', SELECTED),
    (b'SEARCH MODSEQ "/comment" all 1', SELECTED),
    (b"ID", AUTHENTICATED),
    (b'ID ("name")', AUTHENTICATED),
    (b'ID "name"', AUTHENTICATED),
    (b'ID ("' + b"n" * 31 + b'" NIL)', AUTHENTICATED),
    (b'ID ("n" "' + b"v" * 1025 + b'")', AUTHENTICATED),
    (b"ID (" + b" ".join(b'"n%d" NIL' % n for n in range(31)) + b")", AUTHENTICATED),
    (b"ENABLE", AUTHENTICATED),
    (b"ENABLE " + b" ".join([b"x"] * 101), AUTHENTICATED),
    (b"UID EXPUNGE", SELECTED),
    (b"STORE 1 FLAGS", SELECTED),
    (b"STORE 1 FOO (x)", SELECTED),
    (b"STORE 0 FLAGS (x)", SELECTED),
    (b"STORE 1 FLAGS (\\*)", SELECTED),
    (b"STORE 1 () FLAGS (x)", SELECTED),
    (b"COPY 1", SELECTED),
    (b"COPY x y", SELECTED),
    (b"FETCH 1", SELECTED),
    (b"FETCH 1 FLAGS FLAGS", SELECTED),
    (b"APPEND INBOX", SELECTED),
    (b'APPEND INBOX "message"', SELECTED),
    (b"FOO", SELECTED),
    (b"UID", SELECTED),
    (b"UID NOOP", SELECTED),
    (b"UID UID FETCH 1 FLAGS", SELECTED),
    (b"FETCH(1)", SELECTED),
    (b"", SELECTED),
]


@pytest.mark.parametrize(("text", "state"), BAD, ids=[row[0][:60].decode("latin-1") for row in BAD])
def test_refused(text: bytes, state: str) -> None:
    assert invalid(text, state)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rfc3501_section_3_states(row: Any) -> None:
    for state in (NOT_AUTHENTICATED, AUTHENTICATED, SELECTED):
        text = invalid(row.name.encode() + b" \x01", state)
        wrong = text in ("Already authenticated", "Not authenticated", "No mailbox selected")
        assert wrong == (state not in row.states)


@pytest.mark.parametrize(
    ("line", "tag"),
    [(b"", None), (b" a NOOP", None), (b"* NOOP", None), (b"a+b NOOP", None), (b"a(b NOOP", None), (b"caf\xe9 x", None),
     (b"a", b"a"), (b"a]b", b"a]b"), (b"GET / HTTP/1.1", b"GET"), (b"a\tNOOP", None), (b"a NOOP\n", b"a")],
)  # fmt: skip
def test_rfc3501_tags(line: bytes, tag: bytes | None) -> None:
    event, then = read(line, SELECTED, [], 16)
    assert type(event) is r.Invalid and event.tag == tag and then == ""


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(given(b"LOGIN joe hush", NOT_AUTHENTICATED))
    assert "hush" not in repr(r.AuthResponse(b"hush")) + repr(r.Authenticate(b"a", "AUTHENTICATE", "X", b"hush"))
