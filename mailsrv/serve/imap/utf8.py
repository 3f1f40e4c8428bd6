"""UTF8=ACCEPT (floor 3; RFC 6855, RFC 9755): messages with UTF-8 in their header.

Clients that do not know of it get such messages as they are.  RFC 6855 section 7 leaves it to the server whether they
are hidden, replaced or given as they are.  A replacement would have other octets under the same UID, which is one
message for ever: clients of one mailbox differ in what they enable, the same client does after an update, and what it
has kept and counted would be wrong.  Raw octets in headers are what mail programs have always met with; ENVELOPE has
them in literals, where RFC 3501 allows them.  POP3 has no such memory, and downgrades (RFC 6856).

QUIRK: messages with such headers are taken also without UTF8 and without ENABLE, against section 4: mbsync and imapsync
copy what other servers hold, and ask nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...interfaces import IContent
from ...wire import imap_requests as r
from .answer import Bad, No
from .modes import UTF8
from .summaries import read_header

if TYPE_CHECKING:
    from .session import ImapSession


def on(session: ImapSession) -> None:
    """ENABLE UTF8=ACCEPT: mailbox names are UTF-8 from here on."""
    session.engine.form = session.engine.form._replace(utf8=True)


def needed(session: ImapSession) -> None:
    """Raises No when the client sends UTF8 but has not enabled it."""
    if not session.engine.form.utf8:
        raise No("CANNOT", "UTF8 is for those who enabled UTF8=ACCEPT")


def unlabelled(session: ImapSession, request: r.Search | r.Thread) -> None:
    """Strings are UTF-8 for those who enabled it: a label of a search is refused, and of SORT and THREAD, which must
    have one, any other (RFC 6855 section 3 with erratum 4029, RFC 9755 section 3).  Raises Bad."""
    if UTF8 in session.enabled and request.charset:
        labelled = isinstance(request, r.Sort | r.Thread)
        if not labelled or request.charset != b"UTF-8":
            raise Bad("Strings are UTF-8, which was enabled: no other character set")


async def international(session: ImapSession, announced: r.AppendMessage, content: IContent) -> bool:
    """Whether an appended message is an internationalised one (RFC 6532): its header has UTF-8, and its client knows
    what that means."""
    if not (announced.utf8 or session.engine.form.utf8):
        return False
    block = await read_header(content)
    if block.isascii():
        return False
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
