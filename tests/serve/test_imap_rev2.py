"""ENABLE IMAP4rev2 (RFC 9051 appendix E): what is other than in IMAP4rev1, in one session."""

from __future__ import annotations

import pytest

from mailsrv.serve.imap import extensions
from mailsrv.testing.conversation import Conversation

#: Played with IMAP4rev2 among the capabilities, whether or not all of its parts are there.
TALK = r"""
@deliver me Subject: one\r\n\r\n1\r\n
@connect imap
S: * OK [CAPABILITY IMAP4rev2 IMAP4rev1 {any}] mx.example.org ready
C: l LOGIN me secret
S: l OK [CAPABILITY IMAP4rev2 IMAP4rev1 {any}] Logged in
C: a CREATE "Entw&APw-rfe"
S: a OK [MAILBOXID (m{n})] CREATE completed
C: b ENABLE IMAP4rev2 imap4REV2
S: * ENABLED IMAP4rev2
S: b OK ENABLE completed
# Names in UTF-8, quoted, literal, in every command (section 5.1).
C: c LIST "" "Entw*"
S: * LIST (\HasNoChildren) "/" "Entwürfe"
S: c OK LIST completed
C: d CREATE "Brouillons & notés"
S: d OK [MAILBOXID (m{n})] CREATE completed
C: e STATUS {9+}
C: Entwürfe (MESSAGES UIDNEXT)
S: * STATUS "Entwürfe" (MESSAGES 0 UIDNEXT 1)
S: e OK STATUS completed
C: f APPEND "Entwürfe" {3+}
C: abc
S: f OK [APPENDUID {n} 1] APPEND completed
C: f1 LSUB "" "*"
S: * LSUB () "/" Archive
S: * LSUB () "/" Drafts
S: * LSUB () "/" INBOX
S: * LSUB () "/" Junk
S: * LSUB () "/" Sent
S: * LSUB () "/" Trash
S: f1 OK LSUB completed
C: f2 SELECT "\xff"
S: f2 BAD Mailbox name is not valid UTF-8
C: f3 SELECT "a\x01b"
S: f3 BAD Mailbox name is not valid UTF-8
# LIST, no RECENT, no UNSEEN, no \Recent (section 6.3.2).
C: g SELECT "Entwürfe"
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] Flags and new keywords are kept
S: * 1 EXISTS
S: * OK [UIDVALIDITY {n}] UIDs valid
S: * OK [UIDNEXT 2] Predicted next UID
S: * OK [MAILBOXID (m{n})] Mailbox id
S: * OK [HIGHESTMODSEQ 2] Highest
S: * LIST () "/" "Entwürfe"
S: g OK [READ-WRITE] SELECT completed
C: h FETCH 1 FLAGS
S: * 1 FETCH (FLAGS ())
S: h OK FETCH completed
C: h1 EXAMINE INBOX
S: * OK [CLOSED] The mailbox selected before is left
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS ()] No changes here
S: * 1 EXISTS
S: * OK [UIDVALIDITY {n}] UIDs valid
S: * OK [UIDNEXT 2] Predicted next UID
S: * OK [MAILBOXID (m{n})] Mailbox id
S: * OK [HIGHESTMODSEQ 2] Highest
S: * LIST () "/" INBOX
S: h1 OK [READ-ONLY] EXAMINE completed
C: i IDLE
S: + idling
@deliver me Subject: two\r\n\r\n2\r\n
S: * 2 EXISTS
C: DONE
S: i OK IDLE completed
# What is \Recent is left to those who know it.
@connect imap as 2
S2: * OK [CAPABILITY {any}] mx.example.org ready
C2: l LOGIN me secret
S2: l OK [CAPABILITY {any}] Logged in
C2: a SELECT INBOX
S2: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S2: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] Flags and new keywords are kept
S2: * 2 EXISTS
S2: * 2 RECENT
S2: * OK [UNSEEN 1] First unseen message
S2: * OK [UIDVALIDITY {n}] UIDs valid
S2: * OK [UIDNEXT 3] Predicted next UID
S2: * OK [MAILBOXID (m{n})] Mailbox id
S2: * OK [HIGHESTMODSEQ 3] Highest
S2: a OK [READ-WRITE] SELECT completed
# Switched on in a selected mailbox.
C2: b ENABLE IMAP4REV2
S2: * ENABLED IMAP4rev2
S2: b OK ENABLE completed
C2: c FETCH 1 FLAGS
S2: * 1 FETCH (FLAGS ())
S2: c OK FETCH completed
C2: d LIST "" "*é*"
S2: * LIST (\HasNoChildren) "/" "Brouillons & notés"
S2: d OK LIST completed
C2: d1 SELECT "Entw&APw-rfe"
S2: * OK [CLOSED] The mailbox selected before is left
S2: d1 NO [NONEXISTENT] No such mailbox
# Logged out, names are what they were (RFC 8437).
C2: e UNAUTHENTICATE
S2: e OK [CAPABILITY {any}] Logged out
C2: f LOGIN me secret
S2: f OK [CAPABILITY {any}] Logged in
C2: g LIST "" "Entw*"
S2: * LIST (\HasNoChildren) "/" Entw&APw-rfe
S2: g OK LIST completed
C2: h SELECT "Entwürfe"
S2: h BAD Mailbox name is not valid modified UTF-7
"""


def test_rfc9051_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    if extensions.REV2 not in extensions.TABLE:
        monkeypatch.setattr(extensions, "TABLE", (extensions.REV2, *extensions.TABLE))
    Conversation(name="rev2").play(TALK)


def test_rfc9051_is_advertised_when_all_of_it_is_there() -> None:
    names = {row.name for row in extensions.TABLE}
    assert (b"IMAP4rev2" in names) == (names >= extensions.REV2_PARTS)
