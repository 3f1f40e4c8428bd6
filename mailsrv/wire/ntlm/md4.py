"""MD4 (RFC 1320), which hashlib has not any more where OpenSSL is 3 or later (floor 1).

MD4 is broken as a digest.  It is here for the NT hash alone, which is defined by it.
"""

from __future__ import annotations

from struct import pack, unpack

_MASK = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
#: RFC 1320 section 3.4, for each round: the constant added, the order of the words, the four shifts.
_ROUNDS = (
    (0, tuple(range(16)), (3, 7, 11, 19)),
    (0x5A827999, (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13)),
    (0x6ED9EBA1, (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15)),
)


def md4(octets: bytes) -> bytes:
    """The 16 octets of the MD4 digest (RFC 1320)."""
    padded = octets + b"\x80" + bytes(-(len(octets) + 9) % 64) + pack("<Q", 8 * len(octets) & (1 << 64) - 1)
    state = _START
    for at in range(0, len(padded), 64):
        state = _block(state, unpack("<16I", padded[at : at + 64]))
    return pack("<4I", *state)


def _block(state: tuple[int, int, int, int], words: tuple[int, ...]) -> tuple[int, int, int, int]:
    """One block of 16 words (RFC 1320 section 3.4)."""
    a, b, c, d = state
    for number, (constant, order, shifts) in enumerate(_ROUNDS):
        for step, word in enumerate(order):
            if number == 0:
                mixed = d ^ (b & (c ^ d))
            elif number == 1:
                mixed = (b & c) | (d & (b | c))
            else:
                mixed = b ^ c ^ d
            total = (a + mixed + words[word] + constant) & _MASK
            shift = shifts[step & 3]
            # The registers turn by one place at every step, which the RFC writes out as [ABCD], [DABC], ...
            a, b, c, d = d, (total << shift | total >> (32 - shift)) & _MASK, b, c
    return (
        (state[0] + a) & _MASK,
        (state[1] + b) & _MASK,
        (state[2] + c) & _MASK,
        (state[3] + d) & _MASK,
    )
