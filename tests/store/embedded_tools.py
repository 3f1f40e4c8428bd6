"""What the tests of the embedded store share: a store with one account, deliveries, a picture of everything in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mailsrv.message.content import MemoryContent
from mailsrv.store.embedded.store import EmbeddedStore
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, DomainFacts, Envelope, NewDelivery, NewMessage, Placement, Recipient

DOMAIN = DomainFacts("example.org")


def body(number: int, size: int = 200) -> bytes:
    """Octets unlike those of any other number."""
    head = b"Subject: message %d\r\n\r\n" % number
    return head + (b"%08d" % number) * ((size - len(head)) // 8 + 1)


def new_message(number: int, *flags: bytes, size: int = 200) -> NewMessage:
    """A message to append."""
    return NewMessage(MemoryContent(body(number, size)), frozenset(flags), 1_700_000_000 + number)


class Bed:
    """A store at `path` and its loop; `account_id` is the account a@example.org, made when it is not there."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path, self.options, self.loop = path, options, Loop()
        self.store = EmbeddedStore.open(path, self.loop.call_from_thread, **options)
        self.run(self.store.directory.set_domains([DOMAIN]))
        accounts = self.run(self.store.directory.accounts())
        self.account_id: int = (accounts or [self.add_account("a")])[0].account_id

    def run(self, coroutine: Any) -> Any:
        """The coroutine's result."""
        return self.loop.run(coroutine)

    def add_account(self, local: str) -> Any:
        """A further account."""
        return self.run(self.store.directory.add_account(Address(local, "example.org"), "hash of " + local))

    def open(self, name: str = "INBOX", account_id: int | None = None) -> Any:
        """A handle on a mailbox."""
        account = self.run(self.store.account(account_id or self.account_id))
        return self.run(account.open(name))

    def delivery(self, number: int, size: int = 200, placements: tuple[Placement, ...] = ()) -> NewDelivery:
        """A delivery to INBOX, or to `placements`."""
        envelope = Envelope(Address("s", "foreign.example"), (Recipient(Address("a", "example.org")),))
        content = MemoryContent(body(number, size))
        return NewDelivery(f"d{number}", envelope, content, placements or (Placement(self.account_id),), 1.7e9, 60)

    def deliver(self, number: int, size: int = 200) -> None:
        """One delivery to INBOX."""
        self.run(self.store.deliver(self.delivery(number, size)))

    def fill(self, count: int, size: int = 200) -> None:
        """Many deliveries side by side, numbered from 0."""
        self.loop.gather([self.store.deliver(self.delivery(number, size)) for number in range(count)])

    def octets(self, handle: Any) -> dict[int, bytes]:
        """UID -> content."""
        uids = list(handle.columns().uids)
        return {uid: b"".join(content.chunks()) for uid, content in zip(uids, self.run(handle.contents(uids)))}

    def picture(self) -> dict[Any, Any]:
        """Everything that a client could know: accounts, mailboxes, rows, dates, contents."""
        seen: dict[Any, Any] = {}
        directory = self.store.directory
        seen["aliases"] = self.run(directory.aliases())
        for facts in self.run(directory.accounts()):
            account = self.run(self.store.account(facts.account_id))
            infos = self.run(account.mailboxes())
            seen[facts] = infos, self.run(directory.credentials(str(facts.address)))
            for info in infos:
                if info.exists:
                    handle = self.run(account.open(info.name))
                    columns, state = handle.columns(), self.run(handle.state())
                    found = self.run(handle.facts(columns.uids, frozenset({"size", "dates", "ids"})))
                    seen[facts.account_id, info.name] = (
                        state, list(columns.uids), list(columns.flags), list(columns.modseqs), list(columns.keywords),
                        found, self.octets(handle),
                    )
                    handle.release()
        return seen

    def close(self) -> None:
        """Close the store."""
        self.run(self.store.close())

    def again(self, **options: Any) -> Bed:
        """The same store, closed and opened again."""
        self.close()
        return Bed(self.path, **(self.options | options))

    def crash(self) -> None:
        """Let go of everything as a killed process would: nothing more is written, the lock is free."""
        store = self.store
        store.compactor.stop()
        store.compactor.join()
        store.writer.stop()
        store.writer.join()
        store.readers.close()
        store._lock.release()

    def segment_files(self) -> dict[str, int]:
        """Name -> octets of all files with content."""
        return {path.name: path.stat().st_size for path in sorted((self.path / "segments").iterdir())}
