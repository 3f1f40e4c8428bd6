"""What is advertised is proved: each capability has a conversation that uses it, and one in which it is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailsrv.serve.imap.extensions import TABLE
from mailsrv.serve.imap.session import ROWS
from mailsrv.wire import imap_commands

CONVERSATIONS = Path(__file__).parent.parent / "conversations"

#: Capability -> (file, what the client says, the answer) of a success and of a refusal.
PROOFS: dict[bytes, tuple[tuple[str, str, str], tuple[str, str, str]]] = {
    b"IMAP4rev2": (
        ("imap-rev2", r"C: e SEARCH ALL", r"S: \* ESEARCH \(TAG .e.\) ALL 1\nS: e OK"),
        ("imap-rev2", r"C: c SELECT .\\xff", r"S: c BAD"),
    ),
    b"IMAP4rev1": (
        ("imap-fetch", r"C: f FETCH 1 ALL", r"S: f OK"),
        ("imap-fetch", r"C: y FETCH 1 NONSENSE", r"S: y BAD"),
    ),
    b"LITERAL+": (
        ("imap-append", r"C: b APPEND Drafts \{12\+\}", r"S: b OK \[APPENDUID"),
        ("imap-append", r"C: j APPEND Drafts \{61\+\}", r"S: j NO \[TOOBIG\]"),
    ),
    b"LITERAL-": (
        ("imap-literal-minus", r"C: b APPEND INBOX \{4096\+\}", r"S: b OK \[APPENDUID"),
        ("imap-literal-minus", r"C: c APPEND INBOX \{4097\+\}", r"S: c BAD"),
    ),
    b"SASL-IR": (
        ("imap-login", r"C: b1 AUTHENTICATE PLAIN AG1lAHNlY3JldA==", r"S: b1 OK"),
        ("imap-login", r"C: a8 AUTHENTICATE PLAIN AG1lAHdyb25n", r"S: a8 NO \[AUTHENTICATIONFAILED\]"),
    ),
    b"ENABLE": (
        ("imap-greeting", r"C: i ENABLE CONDSTORE X-UNKNOWN", r"S: \* ENABLED CONDSTORE\nS: i OK"),
        ("imap-greeting", r"C: f ENABLE CONDSTORE", r"S: f BAD"),
    ),
    b"ID": (
        ("imap-greeting", r"C: c ID NIL", r"S: \* ID \(.name. .mailsrv. .*\)\nS: c OK"),
        ("imap-id", r"C: a ID \(", r"S: a BAD"),
    ),
    b"IDLE": (
        ("imap-idle", r"C: a IDLE", r"S: \+ idling\n@deliver .*\nS: \* 2 EXISTS"),
        ("imap-idle", r"C: c IDLE\nS: \+ idling\nC: NOOP", r"S: c BAD"),
    ),
    b"NAMESPACE": (
        ("imap-greeting", r"C: j NAMESPACE", r"S: \* NAMESPACE \(\(.. ./.\)\) \(\(.Other Users/. ./.\)\) NIL"),
        ("imap-wrong-state", r"C: a7 NAMESPACE", r"S: a7 BAD"),
    ),
    b"CHILDREN": (
        ("imap-list", r"C: f LIST .. .Work/%.", r"S: .*HasNoChildren.* Work/Archive\nS: .*HasChildren.* Work/Projects"),
        ("imap-list", r"C: k3 SELECT Work/Projects", r"S: k3 NO \[NONEXISTENT\]"),
    ),
    b"SPECIAL-USE": (
        ("imap-list", r"C: b LIST .. .\*.", r"S: \* LIST \(\\HasNoChildren \\Archive\) ./. Archive"),
        ("imap-mailboxes", r"C: f3 CREATE Everything", r"S: f3 NO \[USEATTR\]"),
    ),
    b"LIST-EXTENDED": (
        ("imap-list-extended", r"C: d LIST \(SUBSCRIBED RECURSIVEMATCH\)", r"S: .* Fruit \(.CHILDINFO."),
        ("imap-list-extended", r"C: f LIST \(RECURSIVEMATCH\)", r"S: f BAD"),
    ),
    b"LIST-STATUS": (
        ("imap-list-extended", r"C: i LIST .* RETURN \(STATUS", r"S: \* STATUS INBOX \(MESSAGES 1 .*\nS: i OK"),
        ("imap-list-extended", r"C: i3 LIST", r"S: i3 BAD STATUS item expected"),
    ),
    b"CREATE-SPECIAL-USE": (
        ("imap-mailboxes", r"C: f1 CREATE Rubbish \(USE", r"S: f1 OK"),
        ("imap-mailboxes", r"C: f3 CREATE Everything", r"S: f3 NO \[USEATTR\]"),
    ),
    b"STATUS=SIZE": (
        ("imap-status", r"C: b STATUS inbox \(.*SIZE\)", r"S: \* STATUS INBOX \(.* SIZE 39\)"),
        ("imap-status", r"C: d STATUS Nothing", r"S: d NO \[NONEXISTENT\]"),
    ),
    b"APPENDLIMIT": (
        ("imap-object-ids", r"C: c STATUS Office", r"S: \* STATUS Office \(.* APPENDLIMIT 1000\)"),
        ("imap-object-ids", r"C: j APPEND INBOX \{1001\}", r"S: j NO \[TOOBIG\]"),
    ),
    b"QUOTA": (
        ("imap-quota", r"C: a GETQUOTAROOT INBOX", r"S: \* QUOTAROOT INBOX ..\nS: \* QUOTA "),
        ("imap-quota", r"C: b2 GETQUOTA", r"S: b2 NO \[NONEXISTENT\]"),
    ),
    b"QUOTA=RES-STORAGE": (
        ("imap-quota", r"C: k2 STATUS Trash", r"S: .*DELETED-STORAGE 19"),
        ("imap-quota", r"C: d APPEND", r"S: d NO \[OVERQUOTA\]"),
    ),
    b"QUOTA=RES-MESSAGE": (
        ("imap-quota", r"C: b GETQUOTA", r"S: .* MESSAGE 1 3 "),
        ("imap-quota", r"C: f3 COPY", r"S: f3 NO \[OVERQUOTA\]"),
    ),
    b"QUOTA=RES-MAILBOX": (
        ("imap-quota", r"C: b GETQUOTA", r"S: .* MAILBOX 6 8\)"),
        ("imap-quota", r"C: i3 CREATE", r"S: i3 NO \[OVERQUOTA\]"),
    ),
    b"METADATA": (
        ("imap-metadata", r"C: b GETMETADATA INBOX", r"S: \* METADATA INBOX \(/private/comment .Mine.\)"),
        ("imap-metadata", r"C: f3 SETMETADATA", r"S: f3 NO \[NOPERM\]"),
    ),
    b"LIST-METADATA": (
        ("imap-metadata", r"C: h2 LIST", r"S: \* METADATA Trash \(/shared/comment NIL"),
        ("imap-metadata", r"C: h4 LIST", r"S: h4 BAD"),
    ),
    b"OBJECTID": (
        ("imap-object-ids", r"C: f FETCH", r"S: .*EMAILID \(M1\) THREADID NIL"),
        ("imap-object-ids", r"C: k3 SEARCH EMAILID", r"S: k3 BAD"),
    ),
    b"SAVEDATE": (
        ("imap-object-ids", r"C: m SEARCH SAVEDON", r"S: \* SEARCH 1"),
        ("imap-object-ids", r"C: m3 SEARCH SAVEDSINCE", r"S: m3 BAD"),
    ),
    b"ACL": (
        ("imap-acl", r"C: b SETACL Work you lr", r"S: b OK"),
        ("imap-acl", r"C2: b6 SETACL", r"S2: b6 NO \[NOPERM\]"),
    ),
    b"RIGHTS=": (
        ("imap-acl", r"C2: f CREATE", r"S2: f OK"),
        ("imap-acl", r"C2: c2 STORE", r"S2: c2 NO \[NOPERM\]"),
    ),
    b"LIST-MYRIGHTS": (
        ("imap-acl", r"C2: a3 LIST", r"S2: \* MYRIGHTS .*/Work. lrs"),
        ("imap-acl", r"C2: a4 LIST", r"S2: a4 BAD"),
    ),
    b"UNSELECT": (
        ("imap-select", r"C: e UNSELECT", r"S: e OK"),
        ("imap-wrong-state", r"C: c2 UNSELECT", r"S: c2 BAD"),
    ),
    b"UIDPLUS": (
        ("imap-expunge", r"C: b UID EXPUNGE 1:2", r"S: \* 2 EXPUNGE\nS: b OK"),
        ("imap-select", r"C: b3 UID EXPUNGE 1", r"S: b3 NO \[READ-ONLY\]"),
    ),
    b"MOVE": (
        ("imap-copy-move", r"C: f MOVE 2 Trash", r"S: \* OK \[COPYUID \{n\} 2 1\] Moved\nS: \* 2 EXPUNGE\nS: f OK"),
        ("imap-copy-move", r"C: h MOVE 1 Nowhere", r"S: h NO \[TRYCREATE\]"),
    ),
    b"MULTIAPPEND": (
        ("imap-append", r"C: e APPEND Drafts \{3\+\}", r"S: e OK \[APPENDUID \{n\} 4:6\]"),
        ("imap-append", r"C: f3 APPEND Drafts", r"S: f3 BAD Too many messages"),
    ),
    b"BINARY": (
        ("imap-binary", r"C: a FETCH 1 \(BINARY.SIZE\[1\]", r"S: .*BINARY.SIZE\[1\] 6 BINARY\[1\] ~\{6\}"),
        ("imap-binary", r"C: e FETCH 1:2 BINARY", r"S: e NO \[UNKNOWN-CTE\]"),
    ),
    b"REPLACE": (
        ("imap-replace", r"C: b REPLACE 1 INBOX", r"S: \* OK \[APPENDUID .*\nS: \* 1 EXPUNGE\n(?:.*\n)*?S: b OK"),
        ("imap-replace", r"C: g UID REPLACE 2", r"S: g NO \[NONEXISTENT\]"),
    ),
    b"PREVIEW": (
        ("imap-preview", r"C: b FETCH 1:\* PREVIEW", r"S: \* 1 FETCH \(PREVIEW .Good morning, world.\)"),
        ("imap-preview", r"C: g FETCH 1 \(PREVIEW \(EAGER", r"S: g BAD"),
    ),
    b"NOTIFY": (
        ("imap-notify", r"C: a NOTIFY SET STATUS", r"S: a OK NOTIFY completed\n@deliver .*\nS: \* STATUS INBOX "),
        ("imap-notify", r"C: m1 NOTIFY SET", r"S: m1 NO \[BADEVENT"),
    ),
    b"UTF8=ACCEPT": (
        ("imap-utf8", r"C: g APPEND .* UTF8 \(~\{27\}", r"S: g OK \[APPENDUID"),
        ("imap-utf8", r"C: c APPEND INBOX UTF8 \(~\{5\+\}", r"S: c NO \[CANNOT\]"),
    ),
    b"CONDSTORE": (
        ("imap-condstore", r"C: e STORE 1:3 \(UNCHANGEDSINCE 4\)", r"S: \* 3 .*MODSEQ \(7\)\)\nS: e OK \[MODIFIED 1\]"),
        ("imap-condstore", r"C: o FETCH 1 MODSEQ \(CHANGEDSINCE\)", r"S: o BAD"),
    ),
    b"QRESYNC": (
        ("imap-qresync", r"C: g SELECT INBOX \(QRESYNC", r"S: \* VANISHED \(EARLIER\) .*\nS: .*MODSEQ .*\nS: g OK"),
        ("imap-qresync", r"C: a SELECT INBOX \(QRESYNC", r"S: a BAD"),
    ),
    b"UIDONLY": (
        ("imap-uidonly", r"C: b UID FETCH 1:\* \(FLAGS\)", r"S: \* 1 UIDFETCH \(FLAGS \(\)\)\n(?:.*\n)*?S: b OK"),
        ("imap-uidonly", r"C: c FETCH 1", r"S: c BAD \[UIDREQUIRED\]"),
    ),
    b"ESEARCH": (
        ("imap-search-return", r"C: a1 SEARCH RETURN \(\)", r"S: \* ESEARCH \(TAG .a1.\) ALL 1,3,5\nS: a1 OK"),
        ("imap-search-return", r"C: a9 SEARCH RETURN \(BEST\)", r"S: a9 BAD"),
    ),
    b"SEARCHRES": (
        ("imap-search-return", r"C: c3 FETCH \$ \(UID\)", r"S: \* 5 FETCH \(UID 5\)\nS: c3 OK"),
        ("imap-search-return", r"C: g1 SEARCH RETURN \(SAVE\) CHARSET X-KOI9", r"S: g1 NO \[BADCHARSET"),
    ),
    b"WITHIN": (
        ("imap-search-return", r"C: i1 SEARCH YOUNGER 1800", r"S: \* SEARCH 2 3 4\nS: i1 OK"),
        ("imap-search-return", r"C: i4 SEARCH YOUNGER 0", r"S: i4 BAD"),
    ),
    b"SORT": (
        ("imap-sort", r"C: a1 SORT \(SUBJECT\) UTF-8 ALL", r"S: \* SORT 2 1 3 4\nS: a1 OK"),
        ("imap-sort", r"C: g1 SORT \(DATE\) X-KOI9 ALL", r"S: g1 NO \[BADCHARSET"),
    ),
    b"SORT=DISPLAY": (
        ("imap-sort", r"C: d1 SORT \(DISPLAYFROM\) UTF-8 ALL", r"S: \* SORT 4 2 1 3\nS: d1 OK"),
        ("imap-sort", r"C: g7 SORT \(DISPLAYFROM DISPLAYCC\)", r"S: g7 BAD"),
    ),
    b"ESORT": (
        ("imap-sort", r"C: e1 SORT RETURN \(\) \(DATE\)", r"S: \* ESEARCH \(TAG .e1.\) ALL 4,2,1,3\nS: e1 OK"),
        ("imap-sort", r"C: g5 SORT RETURN \(BEST\)", r"S: g5 BAD"),
    ),
    b"THREAD=ORDEREDSUBJECT": (
        ("imap-thread", r"C: b THREAD ORDEREDSUBJECT UTF-8 ALL", r"S: \* THREAD .*\nS: b OK"),
        ("imap-thread", r"C: h THREAD ORDEREDSUBJECT ALL", r"S: h NO \[BADCHARSET"),
    ),
    b"THREAD=REFERENCES": (
        ("imap-thread", r"C: a THREAD REFERENCES UTF-8 ALL", r"S: \* THREAD .*\nS: a OK"),
        ("imap-thread", r"C: f THREAD REFERENCES X-KOI9", r"S: f NO \[BADCHARSET"),
    ),
    b"INPROGRESS": (
        ("imap-search-progress", r"C: a SEARCH BODY", r"S: \* OK \[INPROGRESS \(.a. \d+ 3\)\] .*\n(?:.*\n)*?S: a OK"),
        ("imap-search-progress", r"C: b SEARCH BODY", r"S: b BAD"),
    ),
    b"PARTIAL": (
        ("imap-partial", r"C: a UID SEARCH RETURN \(PARTIAL -1:-2\)",
         r"S: \* ESEARCH .* PARTIAL \(-1:-2 4:5\)\nS: a OK"),
        ("imap-partial", r"C: j FETCH 1:\* \(UID\) \(PARTIAL", r"S: j BAD"),
    ),
    b"COMPRESS=DEFLATE": (
        ("imap-compress", r"C: g COMPRESS deflate", r"S: g OK DEFLATE active\n@deflate"),
        ("imap-compress", r"C: h COMPRESS", r"S: h NO \[COMPRESSIONACTIVE\]"),
    ),
    b"UNAUTHENTICATE": (
        ("imap-unauthenticate", r"C: e UNAUTHENTICATE", r"S: e OK \[CAPABILITY"),
        ("imap-unauthenticate", r"C: m UNAUTHENTICATE now", r"S: m BAD"),
    ),
    b"STARTTLS": (
        ("imap-require-tls-S-053", r"C<: d STARTTLS", r"S: d OK Begin TLS"),
        ("imap-require-tls-S-053", r"C: h STARTTLS", r"S: h BAD"),
    ),
    b"LOGINDISABLED": (
        ("imap-require-tls-S-053", r"C: i LOGIN me secret", r"S: i OK"),
        ("imap-require-tls-S-053", r"C: a LOGIN me secret", r"S: a NO \[PRIVACYREQUIRED\]"),
    ),
}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name.decode())
def test_each_capability_has_a_success_and_a_refusal(row: object) -> None:
    for file, said, answered in PROOFS[row.name]:  # type: ignore[attr-defined]
        text = (CONVERSATIONS / f"{file}.txt").read_text()
        assert re.search(f"^{said}.*\n(?:.*\n)*?{answered}", text, re.MULTILINE), (file, said)


def test_nothing_is_advertised_twice() -> None:
    names = [row.name for row in TABLE]
    assert len(names) == len(set(names)) and set(names) == set(PROOFS)


def test_each_command_of_the_engine_has_its_function_and_is_said_in_a_conversation() -> None:
    assert set(ROWS) == {row.name for row in imap_commands.ROWS}
    text = "".join(path.read_text() for path in CONVERSATIONS.glob("imap-*.txt"))
    for name in ROWS:
        assert re.search(rf"^C\w*<?: \w+ {name}\b", text, re.MULTILINE | re.IGNORECASE), name
