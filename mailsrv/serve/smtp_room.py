"""Limits of accounts in SMTP (floor 5; S-117, S-120): at MAIL and RCPT by the size announced, and by the real one.

Who has no room keeps nobody else of a list, or of a message, from it: the sender is told of him later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import MailError, QuotaExceeded, TooBig
from ..values import Transaction
from .smtp_verdicts import Share

if TYPE_CHECKING:
    from .smtp_base import SmtpBase


def announced(transaction: Transaction) -> int | None:
    """What SIZE said; None: nothing (RFC 1870 section 6.1: 0 says nothing, too)."""
    return int(transaction.parameters.get("SIZE", "0")) or None


async def check_sender(session: SmtpBase, transaction: Transaction, octets: int | None) -> None:
    """Whether who logged in may send so much.  Raises TooBig."""
    allowances, identity = session.smtp.allowances, transaction.identity
    if allowances is not None and octets is not None and identity is not None and identity.account_id is not None:
        await allowances.send_out(identity.account_id, octets)


async def check_share(session: SmtpBase, share: Share, octets: int | None) -> None:
    """Whether a recipient's accounts take so much, and have room.  Of several those that do not are left out: they go
    from `share.owners` to `share.full`.  Raises TooBig, QuotaExceeded when nobody is left, or nobody could be told."""
    allowances = session.smtp.allowances
    if allowances is None:
        return
    first: MailError | None = None
    for owner in share.owners:
        try:
            await allowances.take_in(owner.account_id, octets)
        except (TooBig, QuotaExceeded) as error:
            facts = await session.smtp.store.directory.account(owner.account_id)
            if facts is None or not session.smtp.intake.reports:
                raise
            first = first or error
            share.owners = tuple(one for one in share.owners if one is not owner)
            share.full += ((facts.address, error.status),)
    if first is not None and not share.taken:
        raise first


async def check_whole(session: SmtpBase, octets: int) -> None:
    """The same of a whole message, for all its recipients, if more came than was announced.  Raises TooBig,
    QuotaExceeded when nobody at all is left."""
    transaction = session.transaction
    assert transaction is not None
    if session.smtp.allowances is None or octets <= (announced(transaction) or 0):
        return
    first: MailError | None = None
    for share in session.shares:
        try:
            await check_share(session, share, octets)
        except (TooBig, QuotaExceeded) as error:
            if share.taken:
                raise
            first = first or error
    if first is not None and not any(share.taken for share in session.shares):
        raise first


def refuse_full(shares: Sequence[Share]) -> None:
    """Nobody gets the message, but not because all wanted it dropped.  Raises TooBig, QuotaExceeded."""
    for share in shares:
        for _, status in share.full:
            raise QuotaExceeded() if status == QuotaExceeded.status else TooBig()
