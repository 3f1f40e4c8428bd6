"""Names of what a session can have switched on (floor 3; RFC 5161): the members of `session.enabled`."""

from __future__ import annotations

#: FETCH tells MODSEQ (RFC 7162 section 3.1).
CONDSTORE = "CONDSTORE"
#: VANISHED instead of EXPUNGE (RFC 7162 section 3.2).
QRESYNC = "QRESYNC"
#: No message numbers at all (RFC 9586).
UIDONLY = "UIDONLY"
#: RFC 9051.
REV2 = "IMAP4REV2"
#: Mailbox names and strings in UTF-8 (RFC 9755).
UTF8 = "UTF8=ACCEPT"
