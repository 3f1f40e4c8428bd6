"""The page of counters as a part of a site (floor 6): as its options say, and again when they change."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from ..config.metrics import MetricsTable

log = Logger()


class MetricsService:
    """One for a site.  HTTP costs a megabyte, which a site without a page need not spend."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._shown: MetricsTable | None = None
        self._page: Any = None
        self._lock = DeferredLock()

    def changed(self, *options: Any) -> Deferred[None]:
        """The site has other options."""
        return Deferred.fromCoroutine(self.apply()).addErrback(
            lambda failure: log.failure("the page of metrics did not take up its options", failure=failure)
        )

    async def apply(self) -> None:
        """Show the counters where the options in effect say; when nothing has changed nothing happens."""
        await self._lock.acquire()
        try:
            table: MetricsTable = self._site.options.metrics
            if table != self._shown or self.trouble:
                await self.stop()
                self._shown = table
                if table.listen:
                    from .page import Metrics

                    self._page = Metrics(self._site)
                    self._page.start()
                self._site.ready.tell()
        finally:
            self._lock.release()

    async def stop(self) -> None:
        """Show nothing more; idempotent."""
        page, self._page, self._shown = self._page, None, None
        if page is not None:
            await page.stop()

    @property
    def trouble(self) -> str:
        """Why the page is not where it should be, or ""."""
        return "" if self._page is None else str(self._page.trouble)

    def addresses(self) -> list[str]:
        """Where the page is, as "host:port"."""
        return [] if self._page is None else list(self._page.addresses())
