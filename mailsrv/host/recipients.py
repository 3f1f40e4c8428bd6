"""Which recipients of `relay` domains a site takes (floor 6): a list, a call-out, or every one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from ..access.recipients import KnownRecipients, RecipientFile, Takes
from ..auth.outbound import choose
from ..net.client import Connector
from ..serve.smtp_policies import PolicyMaker
from ..transfer.attempts import Lane
from ..transfer.callout import Callout
from ..transfer.smtp_open import Opener
from ..wire.ntlm import Ntlm
from ..wire.sasl import mechanisms
from .config.options import SmtpOptions

#: Seconds that a server may be silent in a call-out.
SILENCE = 15.0


class Recipients:
    """One for a site, after it was opened; `lanes` say which way mail of its servers goes.  Raises ConfigError for a
    list that cannot be read."""

    def __init__(self, site: Any, lanes: Mapping[str, Lane]) -> None:
        self._site, self._lanes = site, lanes
        self._connectors: list[Connector] = []
        self._lists = {
            name: RecipientFile(site.base / table.recipients_file, name, site.aside, site.monotonic).takes
            for name, table in site.options.domains.items()
            if table.kind == "relay" and table.verify == "list"
        }
        self._asked = [
            name for name, table in site.options.domains.items() if table.kind == "relay" and table.verify == "callout"
        ]

    def policies_of(self, server: SmtpOptions) -> list[PolicyMaker]:
        """What that server asks about recipients, after its other rules: one policy, or none."""
        checks: dict[str, Takes] = dict(self._lists)
        if self._asked and server.id in self._lanes:
            callout = self._callout(server)
            checks.update((name, callout.takes) for name in self._asked)
        return [PolicyMaker(KnownRecipients(checks).for_connection, "recipients")] if checks else []

    @property
    def asks(self) -> bool:
        """Whether there is anything to cut off: who asks nobody has no connections."""
        return bool(self._connectors)

    def stop(self) -> None:
        """Cut off what is asked."""
        for connector in self._connectors:
            connector.stop()

    def _callout(self, server: SmtpOptions) -> Callout:
        """By the routes of that server's mail, with connections of its own: they wait for nobody."""
        site = self._site
        connector = Connector(site.reactor, site.monotonic, idle=SILENCE)
        self._connectors.append(connector)
        wanted = [*mechanisms().values(), Ntlm()]
        opener = Opener(connector, lambda: server.hostname, partial(choose, wanted), os.urandom, site.clock)
        return Callout(self._lanes[server.id].routes, opener, site.reactor, site.monotonic)
