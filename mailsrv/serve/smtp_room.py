"""Limits of accounts in SMTP (floor 5; S-117, S-120): at MAIL and RCPT by the size announced, and by the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    """Whether a recipient's accounts take so much, and have room.  Raises TooBig, QuotaExceeded."""
    if session.smtp.allowances is not None:
        for owner in share.owners:
            await session.smtp.allowances.take_in(owner.account_id, octets)


async def check_whole(session: SmtpBase, octets: int) -> None:
    """The same of a whole message, for all its recipients, if more came than was announced.  Raises TooBig,
    QuotaExceeded."""
    transaction = session.transaction
    assert transaction is not None
    if session.smtp.allowances is None or octets <= (announced(transaction) or 0):
        return
    await check_sender(session, transaction, octets)
    for share in session.shares:
        await check_share(session, share, octets)
