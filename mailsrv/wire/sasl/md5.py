"""MD5 from a state (RFC 1321): what hashlib cannot do, and CRAM-MD5 is checked by (floor 1).

A state is four words of 32 bits; blocks have 64 octets.
"""

from __future__ import annotations

from math import sin
from struct import Struct

State = tuple[int, int, int, int]

#: Where every digest begins (RFC 1321 section 3.3).
INITIAL: State = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
BLOCK = 64

_WORDS = Struct("<16I").unpack_from
_DIGEST = Struct("<4I")
_LENGTH = Struct("<Q").pack
_MASK = 0xFFFFFFFF


def _steps(round_: int, factor: int, offset: int) -> tuple[tuple[int, ...], ...]:
    """The 16 steps of a round by fours: each step's constant and word (RFC 1321 section 3.4)."""
    steps = [(int(abs(sin(round_ * 16 + i + 1)) * 2**32), (factor * i + offset) % 16) for i in range(16)]
    return tuple(sum(steps[i : i + 4], ()) for i in range(0, 16, 4))


_F, _G, _H, _I = _steps(0, 1, 0), _steps(1, 5, 1), _steps(2, 3, 5), _steps(3, 7, 0)


def compress(state: State, octets: bytes, at: int = 0) -> State:
    """The state after the block that begins at `at`."""
    x = _WORDS(octets, at)
    a, b, c, d = _third_and_fourth(x, *_first_and_second(x, *state))
    return (state[0] + a) & _MASK, (state[1] + b) & _MASK, (state[2] + c) & _MASK, (state[3] + d) & _MASK


# Four steps are written out, so that the four words need not change places.
def _first_and_second(x: tuple[int, ...], a: int, b: int, c: int, d: int) -> State:
    for k, i, e, j, m, n, o, p in _F:
        a = (a + k + x[i] + (d ^ b & (c ^ d))) & _MASK
        a = b + (a << 7 | a >> 25) & _MASK
        d = (d + e + x[j] + (c ^ a & (b ^ c))) & _MASK
        d = a + (d << 12 | d >> 20) & _MASK
        c = (c + m + x[n] + (b ^ d & (a ^ b))) & _MASK
        c = d + (c << 17 | c >> 15) & _MASK
        b = (b + o + x[p] + (a ^ c & (d ^ a))) & _MASK
        b = c + (b << 22 | b >> 10) & _MASK
    for k, i, e, j, m, n, o, p in _G:
        a = (a + k + x[i] + (c ^ d & (b ^ c))) & _MASK
        a = b + (a << 5 | a >> 27) & _MASK
        d = (d + e + x[j] + (b ^ c & (a ^ b))) & _MASK
        d = a + (d << 9 | d >> 23) & _MASK
        c = (c + m + x[n] + (a ^ b & (d ^ a))) & _MASK
        c = d + (c << 14 | c >> 18) & _MASK
        b = (b + o + x[p] + (d ^ a & (c ^ d))) & _MASK
        b = c + (b << 20 | b >> 12) & _MASK
    return a, b, c, d


def _third_and_fourth(x: tuple[int, ...], a: int, b: int, c: int, d: int) -> State:
    for k, i, e, j, m, n, o, p in _H:
        a = (a + k + x[i] + (b ^ c ^ d)) & _MASK
        a = b + (a << 4 | a >> 28) & _MASK
        d = (d + e + x[j] + (a ^ b ^ c)) & _MASK
        d = a + (d << 11 | d >> 21) & _MASK
        c = (c + m + x[n] + (d ^ a ^ b)) & _MASK
        c = d + (c << 16 | c >> 16) & _MASK
        b = (b + o + x[p] + (c ^ d ^ a)) & _MASK
        b = c + (b << 23 | b >> 9) & _MASK
    for k, i, e, j, m, n, o, p in _I:
        a = (a + k + x[i] + (c ^ (b | ~d & _MASK))) & _MASK
        a = b + (a << 6 | a >> 26) & _MASK
        d = (d + e + x[j] + (b ^ (a | ~c & _MASK))) & _MASK
        d = a + (d << 10 | d >> 22) & _MASK
        c = (c + m + x[n] + (a ^ (d | ~b & _MASK))) & _MASK
        c = d + (c << 15 | c >> 17) & _MASK
        b = (b + o + x[p] + (d ^ (c | ~a & _MASK))) & _MASK
        b = c + (b << 21 | b >> 11) & _MASK
    return a, b, c, d


def finish(state: State, octets: bytes, before: int = 0) -> bytes:
    """The digest of `before` octets (whole blocks, which made the state) and these after them."""
    size = len(octets)
    padded = octets + b"\x80" + bytes((55 - size) % BLOCK) + _LENGTH((before + size) * 8 & 0xFFFFFFFFFFFFFFFF)
    for at in range(0, len(padded), BLOCK):
        state = compress(state, padded, at)
    return _DIGEST.pack(*state)
