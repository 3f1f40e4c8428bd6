"""A message policy: some senders are refused, some mail goes to Junk, and what is taken gets a header field.

    python examples/filter.py [FOLDER]

Here it is given to an embedded site.  As a part (see own_authenticator.py for the drop-in) it would be named by an
SMTP server of the configuration: `policies = ["filter"]`.  docs/policies.md tells all that a policy may say.
"""

import sys
import tempfile

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mailsrv.access.policy import Policy
from mailsrv.host.control import user
from mailsrv.host.embed import site_from_text, start
from mailsrv.values import ACCEPT, Verdict

CONFIG = """
site.domains = ["example.test"]
smtp.default.listen = ["127.0.0.1:0"]
imap.default.listen = ["127.0.0.1:0"]
imap.default.login_without_tls = true
"""

#: Domains whose mail is not wanted.
BLOCKED = frozenset({"spam.example"})
#: Words that no message may hold.
WORDS = (b"free teapots",)


class Filter(Policy):
    """One object for each connection, so it may remember what it saw there."""

    def __init__(self, site):
        self.refused = 0

    async def on_sender(self, transaction):
        """MAIL: the envelope's sender (None is the null path of reports, which must not be refused for that)."""
        path = transaction.reverse_path
        if path is not None and path.domain in BLOCKED:
            self.refused += 1
            return Verdict("reject", f"Mail from {path.domain} is not taken here", "5.7.1", rule="blocked domain")
        return ACCEPT

    async def on_recipient(self, transaction, recipient):
        """RCPT: who was refused as a sender twice has to come back later."""
        if self.refused > 1:
            return Verdict("tempfail", "Try again later", "4.7.1", rule="refused twice")
        return ACCEPT

    async def on_content(self, transaction, content):
        """The whole message is there, and nobody has been told yet that it is taken."""
        start = (await content.read(0, 64 * 1024)).lower()
        if any(word in start for word in WORDS):
            return Verdict("reject", "This message is not wanted", "5.7.1", rule="words")
        if b"teapot" in start:
            return Verdict("quarantine", mailbox="Junk", rule="teapot")
        return Verdict(fields=(b"X-Filter: passed\r\n",), removed=(b"x-filter",))


async def main(reactor, folder):
    site = await start(site_from_text(CONFIG, folder, reactor, policies=[Filter]))
    if not await user.list_users(site):
        await user.add(site, "anna@example.test", "correct horse")
    for name, server in site.servers.items():
        print(name, *server.addresses(), flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, [sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()])
