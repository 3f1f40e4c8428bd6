"""What a client does in the middle of an exchange gets it round neither the count of failed logins nor the delay."""

from __future__ import annotations

from base64 import b64encode

import pytest

from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport

BEGIN = {"imap": b"a AUTHENTICATE %b\r\n", "smtp": b"AUTH %b\r\n", "pop3": b"AUTH %b\r\n"}
KINDS = "scram-sha-256,scram-sha-1,cram-md5,ntlm"


def said(client: MemoryTransport, bed: Bed, octets: bytes, seconds: float = 0.0) -> bytes:
    """The answer."""
    client.send(octets)
    bed.settle(seconds)
    return client.take()


def begun(bed: Bed, protocol: str) -> MemoryTransport:
    """A client that may log in."""
    client = bed.connect(protocol)
    client.take()
    if protocol == "smtp":
        said(client, bed, b"EHLO client.example\r\n")
    return client


@pytest.mark.parametrize("nonsense", [b"!\r\n", b"A" * 20_000 + b"\r\n", b"*\r\n", b"\r\n"])
@pytest.mark.parametrize("protocol", sorted(BEGIN))
def test_a_refused_token_counts_whatever_is_said_to_the_reason(protocol: str, nonsense: bytes) -> None:
    """RFC 7628 section 3.2.3 has one more message after the failure."""
    bed = Bed(kinds=KINDS)
    client = begun(bed, protocol)
    for guess in range(3):
        token = b64encode(b"user=me\x01auth=Bearer guess%d\x01\x01" % guess)
        assert said(client, bed, BEGIN[protocol] % (b"XOAUTH2 " + token)).startswith((b"+ ", b"334 "))
        said(client, bed, nonsense)
        if client.closed:
            # IMAP ends with a line that is too long.
            break
    assert client.closed


@pytest.mark.parametrize("protocol", sorted(BEGIN))
def test_who_lets_the_delay_pass_before_the_proof_waits_for_it_all_the_same(protocol: str) -> None:
    """Else the time of the answer would be that of the check."""
    bed = Bed()
    bed.limit(failed_login_delay=2.0)
    client = begun(bed, protocol)
    assert said(client, bed, BEGIN[protocol] % b"PLAIN", 10.0).startswith((b"+ ", b"334 "))
    assert said(client, bed, b64encode(b"\0me\0wrong") + b"\r\n", 1.9) == b""
    assert said(client, bed, b"", 0.2) != b""
