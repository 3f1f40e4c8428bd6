"""An issue tracker whose tickets are read as mail, and that takes mail as tickets.

    python examples/own_store.py [FOLDER]

The table of tickets is the application's.  The store puts each ticket into the INBOX of whom it is assigned to,
when that mailbox is opened, and makes a ticket of each message that comes in.  Flags and folders are kept in memory
here; a store for real use keeps them too, and passes the suite in `mailsrv.testing.store_suite`.
"""

import sqlite3
import sys
import tempfile
import time
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from zope.interface import implementer

from mailsrv.errors import StoreUnavailable
from mailsrv.host.control import user
from mailsrv.host.embed import site_from_text, start
from mailsrv.interfaces import IMessageStore
from mailsrv.message.content import MemoryContent
from mailsrv.store.memory import MemoryStore
from mailsrv.values import NewMessage

CONFIG = """
site.domains = ["example.test"]
smtp.default.listen = ["127.0.0.1:0"]
imap.default.listen = ["127.0.0.1:0"]
imap.default.login_without_tls = true
"""


@implementer(IMessageStore)
class TicketStore:
    """Tickets as messages.  `table` is an SQLite connection with ticket(id, owner, title, text, created)."""

    def __init__(self, table):
        self.table = table
        self.memory = MemoryStore(time.time)
        self.directory = self.memory.directory
        self.shown = {}

    async def account(self, account_id):
        """The mailboxes of one account, with the tickets that came since it was last asked for."""
        account = await self.memory.account(account_id)
        owner = str((await self.directory.account(account_id)).address)
        last = self.shown.get(account_id, 0)
        query = "SELECT id, title, text, created FROM ticket WHERE owner = ? AND id > ? ORDER BY id LIMIT 1000"
        rows = self.table.execute(query, (owner, last)).fetchall()
        if rows:
            self.shown[account_id] = rows[-1][0]
            inbox = await account.open("INBOX")
            try:
                await inbox.append([self.message(*row) for row in rows])
            finally:
                inbox.release()
        return account

    async def deliver(self, delivery):
        """A message that came in is a ticket for each of its recipients, committed before 250 is said."""
        octets = b"".join(delivery.content.chunks())
        mail = message_from_bytes(octets, policy=SMTP)
        body = mail.get_body(("plain",))
        title, text = str(mail["Subject"] or "(none)"), body.get_content() if body else ""
        owners = [await self.directory.account(place.account_id) for place in delivery.placements]
        rows = [(str(owner.address), title, text, int(delivery.received_at)) for owner in owners if owner]
        try:
            with self.table:
                self.table.executemany("INSERT INTO ticket (owner, title, text, created) VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise StoreUnavailable() from error

    async def close(self):
        """Nothing is queued."""
        await self.memory.close()
        self.table.close()

    def message(self, number, title, text, created):
        """A ticket as a message; what it holds never changes, as the contract asks."""
        mail = EmailMessage(policy=SMTP)
        mail["From"] = "tracker@example.test"
        mail["Subject"] = f"[#{number}] {title}"
        mail["Message-ID"] = f"<ticket-{number}@example.test>"
        mail.set_content(text)
        return NewMessage(MemoryContent(mail.as_bytes()), internal_date=created)


def open_table(path):
    """The application's database."""
    table = sqlite3.connect(path)
    table.execute("PRAGMA synchronous = FULL")
    table.execute(
        "CREATE TABLE IF NOT EXISTS ticket (id INTEGER PRIMARY KEY, owner TEXT, title TEXT, text TEXT, created INTEGER)"
    )
    return table


async def main(reactor, folder):
    table = open_table(Path(folder, "tickets.db"))
    site = await start(site_from_text(CONFIG, folder, reactor, store=TicketStore(table)))
    await user.add(site, "anna@example.test", "correct horse")
    row = ("anna@example.test", "The teapot leaks", "It drips.\n", int(time.time()))
    with table:
        table.execute("INSERT INTO ticket (owner, title, text, created) VALUES (?, ?, ?, ?)", row)
    for name, server in site.servers.items():
        print(name, *server.addresses(), flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, [sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()])
