"""The message store's files (floor 4)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ... import __version__
from ...errors import MailError, Refused
from ...interfaces import IStoreMaintenance
from ...store.backup import BackupJob, Manifest, verify
from ..kept import kept_files
from .table import operation

log = Logger()

#: The most seconds that `store.backup_wait` lets pass before it tells how far it is.
MAX_WAIT = 60


def _maintenance(site: Any) -> Any:
    """The store's IStoreMaintenance.  Raises Refused."""
    if not IStoreMaintenance.providedBy(site.store):
        raise Refused(f"the store {site.options.store.use!r} has no files to look after")
    return site.store


@operation("store.check")
async def check(site: Any) -> dict[str, Any]:
    """Read the whole store and tell what does not fit together; changes nothing."""
    problems = list(await _maintenance(site).check())
    return {"ok": not problems, "problems": problems}


@operation("store.compact")
async def compact(site: Any) -> dict[str, Any]:
    """Give back the disk room of expunged messages now."""
    return {"octets_freed": int(await _maintenance(site).compact())}


class Backing:
    """The backup that a site makes, or made last."""

    def __init__(self, job: BackupJob, began: float) -> None:
        self.job, self.began, self.ended = job, began, 0.0
        self.error = ""
        self._waiting: list[Deferred[None]] = []

    def end(self, result: Any, now: float) -> None:
        """It is whole, or failed."""
        self.ended = now
        if isinstance(result, Failure):
            self.error = str(result.value) if result.check(MailError) else "internal error, see the log"
            self.job.step = "failed"
            if not result.check(MailError):
                log.failure("the backup failed", result)
            log.error("backup to {folder}: {reason}", folder=str(self.job.folder), reason=self.error)
        else:
            log.info(
                "backup to {folder}: done, {copied} octets copied, {reused} were there",
                folder=str(self.job.folder), copied=self.job.copied, reused=self.job.reused,
            )  # fmt: skip
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def wait(self, site: Any, seconds: float) -> None:
        """Until it has ended, but no longer than that."""
        if self.ended or seconds <= 0:
            return
        over: Deferred[None] = Deferred()
        self._waiting.append(over)
        timer = site.reactor.callLater(seconds, lambda: self._waiting.remove(over) or over.callback(None))
        await over
        if timer.active():
            timer.cancel()

    @property
    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "directory": str(self.job.folder), "began": self.began, "ended": self.ended or None, "error": self.error,
            "done": bool(self.ended) and not self.error, **self.job.counters,
        }  # fmt: skip


def _folder(text: str) -> Path:
    """A folder of a backup.  Raises Refused."""
    if not text.startswith("/") or "\0" in text:
        raise Refused("the folder of a backup must be an absolute path, on the server's machine")
    return Path(text)


@operation("store.backup")
async def backup(site: Any, directory: str) -> dict[str, Any]:
    """Begin to copy store, keys and configuration into a folder, while mail comes and goes (`store.backup_wait`)."""
    folder, store = _folder(directory), _maintenance(site)
    if folder.resolve().is_relative_to(site.options.data.resolve()):
        raise Refused(f"{folder} lies in the data folder: choose another place, best on another disk")
    before = store.backing
    if before is not None and not before.ended:
        raise Refused(f"a backup to {before.job.folder} is under way", "4.3.2")
    facts = {
        "version": __version__, "hostname": site.options.site.hostname, "data": site.options.site.data,
        "config": site.options.file.name if site.options.file else "", "base": str(site.options.base),
    }  # fmt: skip
    job = BackupJob(folder, await site.aside(kept_files, site.options), facts)
    made = store.backing = Backing(job, site.clock())
    Deferred.fromCoroutine(store.backup(job)).addBoth(lambda result: made.end(result, site.clock()))
    return dict(made.facts)


def _backing(site: Any) -> Backing:
    """Raises Refused."""
    found: Backing | None = _maintenance(site).backing
    if found is None:
        raise Refused("no backup was begun since the start")
    return found


@operation("store.backup_wait")
async def backup_wait(site: Any, seconds: int = 0) -> dict[str, Any]:
    """How far the backup is; after so many seconds at the most, at once when it has ended."""
    made = _backing(site)
    if not 0 <= seconds <= MAX_WAIT:
        raise Refused(f"seconds must be 0 to {MAX_WAIT}")
    await made.wait(site, seconds)
    return made.facts


@operation("store.backup_cancel")
async def backup_cancel(site: Any) -> dict[str, Any]:
    """End the backup that is under way; the one before stays whole."""
    made = _backing(site)
    made.job.stop.set()
    await made.wait(site, MAX_WAIT)
    return made.facts


@operation("store.verify_backup")
async def verify_backup(site: Any, directory: str) -> dict[str, Any]:
    """Read all of a backup and compare it with its checksums."""
    done: Deferred[Any] = Deferred()

    def work() -> None:
        """Nobody waits for this thread when the site stops."""
        try:
            outcome: Any = verify(_folder(directory))
        except (MailError, OSError):
            outcome = Failure()
        site.call_from_thread(done.callback, outcome)

    threading.Thread(target=work, name="verify backup", daemon=True).start()
    manifest, problems = await done
    return verified(manifest, problems)


def verified(manifest: Manifest, problems: list[str]) -> dict[str, Any]:
    """What `store.verify_backup` answers."""
    return {
        "ok": not problems, "problems": problems, "taken": manifest.taken, "files": len(manifest.files),
        "octets": sum(one.octets for one in manifest.files), **manifest.facts,
    }  # fmt: skip


def instant(epoch: float) -> str:
    """For people."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(epoch))
