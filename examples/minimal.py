"""A whole mail site: python examples/minimal.py [FOLDER].  It runs until it is interrupted."""

import sys
import tempfile

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mailsrv.host.control import user
from mailsrv.host.embed import site_from_text, start

# Port 0: the system chooses.  Passwords without TLS are all right where only this machine can connect.
CONFIG = """
site.domains = ["example.test"]
smtp.default.listen = ["127.0.0.1:0"]
imap.default.listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
imap.default.login_without_tls = true
"""


async def main(reactor, folder):
    site = await start(site_from_text(CONFIG, folder, reactor))
    if not await user.list_users(site):
        await user.add(site, "anna@example.test", "correct horse")
    for name, server in site.servers.items():
        print(name, *server.addresses(), flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, [sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()])
