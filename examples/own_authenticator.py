"""Users of a wiki log in with the passwords that the wiki knows: python examples/own_authenticator.py [FOLDER].

The same class works in two ways.  Here it is given to an embedded site.  For `twistd mailsrv` it is a part:
`examples/twisted/plugins/wiki_parts.py` names it, and with examples/ on the path a configuration may say

    [auth]
    use = ["wiki"]

    PYTHONPATH=examples twistd -n mailsrv
"""

import sys
import tempfile
from contextlib import suppress
from hmac import compare_digest

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from zope.interface import implementer

from mailsrv.auth.hashing import normal
from mailsrv.auth.names import login_address
from mailsrv.errors import AuthenticationFailed, Refused
from mailsrv.host.embed import site_from_text, start
from mailsrv.interfaces import IAuthenticator
from mailsrv.parts import TEXT, option
from mailsrv.values import Address, Identity

CONFIG = """
site.domains = ["example.test"]
smtp.default.listen = ["127.0.0.1:0"]
pop3.default.listen = ["127.0.0.1:0"]
pop3.default.login_without_tls = true
"""

#: What the wiki would look up in its own database.
USERS = {"anna": "correct horse", "bo": "battery staple"}


@frozen
class Options:
    """[auth.wiki]"""

    domain: str = option(TEXT, "example.test", "the mail domain of the wiki's users")


@implementer(IAuthenticator)
class WikiAuthenticator:
    """Knows the wiki's users; their mailboxes are made when they are first needed."""

    schemes = frozenset({"password"})

    def __init__(self, directory, domain):
        self.directory, self.domain = directory, domain

    async def authenticate(self, credentials, context):
        """See IAuthenticator: None is "not mine", AuthenticationFailed "mine, and wrong"."""
        address = login_address(credentials.username, self.domain, context.domains)
        if address.domain != self.domain or address.local not in USERS:
            return None
        right = compare_digest(normal(credentials.password), normal(USERS[address.local]))
        account = await self.account(address.local) if right else None
        if account is None or not account.enabled:
            raise AuthenticationFailed()
        # Whether somebody may act as another (authzid) is not for authenticators to say: it is passed on.
        return Identity(account.account_id, str(address), credentials.authzid, denied=account.denied)

    async def seen(self, address):
        """Asked when mail comes for an address without a mailbox: is there one now?"""
        known = address.domain == self.domain and address.local.lower() in USERS
        return known and await self.account(address.local.lower()) is not None

    async def account(self, name):
        """The stored account; it has no password of its own."""
        address = Address(name, self.domain)
        if await self.directory.credentials(str(address)) is None:
            with suppress(Refused):  # made by somebody else in this moment
                await self.directory.add_account(address, "")
        return await self.directory.credentials(str(address))


def build(options, site):
    """The part's factory."""
    return WikiAuthenticator(site.directory, options.domain)


async def main(reactor, folder):
    wiki = [lambda site: build(Options(), site)]
    site = await start(site_from_text(CONFIG, folder, reactor, authenticators=wiki))
    for name, server in site.servers.items():
        print(name, *server.addresses(), flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, [sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()])
