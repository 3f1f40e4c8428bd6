"""The one id of a message: 13 characters, in the order of time, never twice."""

from __future__ import annotations

from mailsrv.transfer.ids import ALPHABET, IdMaker


class Clock:
    """A clock that a test moves, also back."""

    def __init__(self) -> None:
        self.now = 1_795_492_800.0

    def __call__(self) -> float:
        return self.now


def value(text: str) -> int:
    number = 0
    for character in text:
        number = number * 32 + ALPHABET.index(character)
    return number


def test_an_id_is_the_milliseconds_since_2020_and_a_counter() -> None:
    clock = Clock()
    made = IdMaker(clock, lambda n: b"\xff" * n).next()
    assert len(made) == 13
    assert value(made) >> 24 == int((clock.now - 1_577_836_800) * 1000)
    assert value(made) & 0xFFFFFF == 0xFFFFFF >> 1


def test_ids_rise_and_never_repeat_whatever_the_clock_does() -> None:
    clock = Clock()
    maker = IdMaker(clock, lambda n: b"\0" * n)
    ids = []
    for step in (0, 0, 0.0004, 1, -3600, 0, 7200):
        clock.now += step
        ids += [maker.next() for _ in range(50)]
    assert len(set(ids)) == len(ids) and ids == sorted(ids)
