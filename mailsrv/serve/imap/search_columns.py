"""SEARCH in columns (floor 3): what flags, days of arrival and the records of usual fields tell of a whole block at
once, before any message is looked at by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define

from ... import query as q
from ...interfaces import IMailbox
from ...message.head import might_hold
from ...message.query import Candidate, Matcher, by_day, sieve

#: Index, UID and flag mask of a message that nobody can tell yet.
Undecided = tuple[int, int, int]
_DAY = 86400


@define
class Columns:
    """One search.  `days`: of the dates it asks for days of arrival alone; `needles`: what matches has one of them."""

    match: Matcher
    keywords: Mapping[bytes, int]
    days: bool
    needles: tuple[bytes, ...]

    @classmethod
    def of(cls, query: q.Query, match: Matcher, keywords: Mapping[bytes, int]) -> Columns:
        """Of a query without sets of UIDs."""
        return cls(match, keywords, by_day(query), sieve(query))

    def by_flags(self, part: range, uids: Sequence[int], masks: Sequence[int]) -> tuple[list[int], list[Undecided]]:
        """(what matches, what is left) by the flags, of which there are few different ones."""
        answers = {mask: self.match(Candidate(0, mask, self.keywords)) for mask in set(masks)}
        told = set(answers.values())
        if told == {None}:
            return [], list(zip(part, uids, masks))
        found = [at for at, mask in zip(part, masks) if answers[mask]] if True in told else []
        if None not in told:
            return found, []
        return found, [row for row in zip(part, uids, masks) if answers[row[2]] is None]

    async def narrow(self, mailbox: IMailbox, rows: list[Undecided]) -> tuple[list[int], list[Undecided]]:
        """The same by what the store has at hand."""
        found: list[int] = []
        if self.days and rows:
            columns = await mailbox.at_hand([row[1] for row in rows], ("date", "zone"))
            if columns is not None:
                found, rows = self._by_day(rows, *columns)
        if self.needles and rows:
            columns = await mailbox.at_hand([row[1] for row in rows], ("head",))
            may = None if columns is None else might_hold(columns[0], self.needles)
            if may is not None:
                rows = [row for row, holding in zip(rows, may) if holding]
        return found, rows

    def _by_day(
        self, rows: list[Undecided], dates: Sequence[int], zones: Sequence[int]
    ) -> tuple[list[int], list[Undecided]]:
        keys = [(row[2], (date + zone * 60) // _DAY) for row, date, zone in zip(rows, dates, zones)]
        answers = {
            (mask, day): self.match(Candidate(0, mask, self.keywords, internal_date=day * _DAY))
            for mask, day in set(keys)
        }
        found = [row[0] for row, key in zip(rows, keys) if answers[key]]
        return found, [row for row, key in zip(rows, keys) if answers[key] is None]
