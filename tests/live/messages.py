"""Messages that clients must not harm: attachment, non-ASCII subject, 8-bit body, dots, long lines."""

from __future__ import annotations

REAL = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <juergen@remote.example>\r\n"
    b"To: me@example.test\r\n"
    b"Subject: =?utf-8?b?R3LDvMOfZSBhdXMgS8O2bG4=?=\r\n"
    b"Date: Tue, 24 Nov 2026 04:00:00 +0000\r\n"
    b"Message-ID: <real-1@remote.example>\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="=_b"\r\n'
    b"\r\n"
    b"--=_b\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
    b"Sch\xc3\xb6ne Gr\xc3\xbc\xc3\x9fe\r\n"
    b".\r\n"
    b"..two dots\r\n"
    b".hidden\r\n"
    b"\r\n"
    b"--=_b\r\n"
    b'Content-Type: application/octet-stream; name="data.bin"\r\n'
    b"Content-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename=data.bin\r\n"
    b"\r\n" + b"AAECAwQFBgcICQoLDA0ODw==\r\n" * 20 + b"--=_b--\r\n"
)


def without_trace(octets: bytes) -> bytes:
    """The message as it was sent: without Return-Path, Delivered-To and Received, which the server put above it."""
    lines = octets.split(b"\r\n")
    assert lines[0].startswith(b"Return-Path: <"), lines[0]
    at = 2 if lines[1].startswith(b"Delivered-To: ") else 1
    assert lines[at].startswith(b"Received: from "), lines[at]
    at += 1
    while lines[at].startswith((b" ", b"\t")):
        at += 1
    return b"\r\n".join(lines[at:])
