"""Records of a segment file: how they are written, checked and scanned (no file is kept open here).

A record is: prefix, header (JSON, UTF-8), body (octets as received), CRC-32 of all of it.  The CRC starts from
the segment's own random salt, so that octets inside a message can never pass for a record.  Integers are little
endian.

    prefix   4s magic, B kind, B version, H 0, I segment, I ordinal, I header octets, Q body octets
    trailer  I CRC-32

The header of a CONTENT record tells all that a rescue needs: the delivery's id, its envelope, and its placements
`[account, mailbox id, UID, MODSEQ, [flag, ...]]`; with rows of the queue also those, `[id, destination, held,
recipients]`, "origin", and "at", the instant of "date" with its fraction.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from json import JSONEncoder
from typing import Any
from zlib import crc32

from attrs import define, field

from ...errors import StoreUnavailable
from ...values import Address, NewDelivery

FORMAT = 1
#: A message with its placements; more placements of a message; accounts and mailboxes, all or what changed;
#: the rows of one mailbox.
CONTENT, PLACEMENTS, CATALOGUE, CHANGES, STATE = 1, 2, 3, 4, 5

PREFIX = struct.Struct("<4sBBHIIIQ")
TRAILER = struct.Struct("<I")
FILE_HEADER = struct.Struct("<8sIII16sI")
_RECORD_MAGIC = b"\xabMr\x01"
_FILE_MAGIC = b"MAILSEG\x01"
#: A header names at most 64,000 recipients; beyond this a length field is taken for damage.
MAX_HEADER_OCTETS = 64 * 2**20
_WINDOW = 2**20

to_json = JSONEncoder(separators=(",", ":"), check_circular=False).encode


@define
class FileHeader:
    """The first octets of a segment: its number, its generation (1 higher after each compaction), its salt."""

    number: int
    generation: int
    salt: bytes
    #: Where the CRC of every record of this segment starts.
    seed: int = field(init=False, eq=False)

    @seed.default
    def _seed(self) -> int:
        return crc32(self.salt)

    def encode(self) -> bytes:
        """The octets with their own CRC."""
        data = FILE_HEADER.pack(_FILE_MAGIC, FORMAT, self.number, self.generation, self.salt, 0)[:-4]
        return data + TRAILER.pack(crc32(data))

    @classmethod
    def decode(cls, data: bytes) -> FileHeader | None:
        """None: not a whole header.  Raises StoreUnavailable for a newer format."""
        if len(data) < FILE_HEADER.size:
            return None
        magic, version, number, generation, salt, crc = FILE_HEADER.unpack_from(data)
        if magic != _FILE_MAGIC or crc != crc32(data[: FILE_HEADER.size - 4]):
            return None
        if version > FORMAT:
            raise StoreUnavailable(f"Segment {number} has format {version}, not {FORMAT}: use a newer mailsrv")
        return cls(number, generation, salt)


def prefix(kind: int, segment: int, ordinal: int, header_octets: int, body_octets: int) -> bytes:
    """The fixed first octets of a record."""
    return PREFIX.pack(_RECORD_MAGIC, kind, FORMAT, 0, segment, ordinal, header_octets, body_octets)


def envelope_header(
    delivery: NewDelivery, saved_at: int, placements: list[Any], queued: list[Any] | None = None
) -> bytes:
    """The header of the CONTENT record of a delivery.  `queued`: rows `[id, destination, held, recipients]`."""
    envelope = delivery.envelope
    reverse = envelope.reverse_path
    header = {
        "id": delivery.id,
        "server": delivery.server,
        "date": int(delivery.received_at),
        "zone": delivery.zone,
        "saved": saved_at,
        "from": None if reverse is None else _path(reverse),
        "to": [[_path(recipient.address), recipient.parameters] for recipient in envelope.recipients],
        "parameters": envelope.parameters,
        "put": placements,
    }
    if queued:
        header |= {"origin": delivery.origin, "at": delivery.received_at, "queue": queued}
    return to_json(header).encode()


def flags_text(flags: Sequence[bytes]) -> str:
    """Flags as `append_header` takes them."""
    return to_json([flag.decode("latin-1") for flag in flags]) if flags else "[]"


def append_header(
    date: int, zone: int, saved_at: int, place: tuple[int, int, int, int], flags: str, unique_id: bytes = b"",
    international: bool = False,
) -> bytes:  # fmt: skip
    """The header of the CONTENT record of an appended message: it has no envelope.  `place`: account, mailbox, UID,
    MODSEQ.  One of thousands in a row: JSON of numbers needs no encoder, which is made anew for each text."""
    put = "[%d,%d,%d,%d,%s]" % (*place, flags)
    header = f'{{"date":{date},"zone":{zone},"saved":{saved_at},"put":[{put}]'
    if unique_id:
        header += f',"uidl":{to_json(unique_id.decode("latin-1"))}'
    if international:
        header += ',"parameters":{"SMTPUTF8":""}'
    return header.encode() + b"}"


def placements_header(
    reference: tuple[int, int], size: int, date: int, zone: int, saved_at: int, placements: list[Any]
) -> bytes:
    """The header of a PLACEMENTS record: more rows for the content of an earlier record."""
    return to_json({
        "of": reference, "size": size, "date": date, "zone": zone, "saved": saved_at, "put": placements
    }).encode()


def queue_header(
    reference: tuple[int, int], delivery: NewDelivery, saved_at: int, placements: list[Any], queued: list[Any]
) -> bytes:
    """The header of a PLACEMENTS record with rows of the queue: it names the envelope again."""
    reverse = delivery.envelope.reverse_path
    return to_json({
        "of": reference, "size": delivery.content.size, "date": int(delivery.received_at), "zone": delivery.zone,
        "saved": saved_at, "put": placements, "id": delivery.id, "server": delivery.server,
        "from": None if reverse is None else _path(reverse), "parameters": delivery.envelope.parameters,
        "origin": delivery.origin, "at": delivery.received_at, "queue": queued,
    }).encode()


def _path(address: Address) -> list[str]:
    return [address.local, address.domain]


@define
class Found:
    """One record met by a scan: where it starts, where its body starts, where it ends."""

    kind: int
    ordinal: int
    start: int
    body: int
    body_octets: int
    end: int
    header: bytes


@define
class Scan:
    """What a scan has seen so far: `end` is behind the last whole record; `damaged` octets were skipped over."""

    end: int = FILE_HEADER.size
    damaged: int = 0
    size: int = 0


def read_record(fd: int, head: FileHeader, at: int, size: int, last: int) -> Found | None:
    """The record that starts at `at`, checked; None when there is none.  `last` is the ordinal before it."""
    first = os.pread(fd, 4096, at)
    if len(first) < PREFIX.size:
        return None
    magic, kind, version, _, segment, ordinal, header_octets, body_octets = PREFIX.unpack_from(first)
    body = at + PREFIX.size + header_octets
    end = body + body_octets + TRAILER.size
    if magic != _RECORD_MAGIC or version > FORMAT or segment != head.number or ordinal <= last:
        return None
    if header_octets > MAX_HEADER_OCTETS or end > size:
        return None
    if end - at <= len(first):
        crc, header = crc32(first[: end - at - 4], head.seed), first[PREFIX.size : body - at]
        stored = first[end - at - 4 : end - at]
    else:
        crc = head.seed
        for offset in range(at, end - 4, _WINDOW):
            crc = crc32(os.pread(fd, min(_WINDOW, end - 4 - offset), offset), crc)
        header, stored = os.pread(fd, header_octets, at + PREFIX.size), os.pread(fd, 4, end - 4)
    if stored != TRAILER.pack(crc):
        return None
    return Found(kind, ordinal, at, body, body_octets, end, header)


def scan(fd: int, head: FileHeader, size: int, progress: Scan) -> Iterator[Found]:
    """All whole records in the first `size` octets.  What cannot be read is skipped only when a whole record
    follows (then it is damage); otherwise it is the torn tail, and `progress.end` tells where it begins."""
    at, last = FILE_HEADER.size, -1
    progress.size = size
    while at < size:
        found = read_record(fd, head, at, size, last)
        if found is None:
            found = _next_whole(fd, head, at + 1, size, last)
            if found is None:
                return
            progress.damaged += found.start - at
        at = progress.end = found.end
        last = found.ordinal
        yield found


def _next_whole(fd: int, head: FileHeader, at: int, size: int, last: int) -> Found | None:
    """The first whole record at or behind `at`."""
    overlap = len(_RECORD_MAGIC) - 1
    while at < size:
        window = os.pread(fd, _WINDOW + overlap, at)
        if not window:
            return None
        place = window.find(_RECORD_MAGIC)
        while place >= 0:
            found = read_record(fd, head, at + place, size, last)
            if found is not None:
                return found
            place = window.find(_RECORD_MAGIC, place + 1)
        at += _WINDOW
    return None
