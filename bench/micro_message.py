"""CPU time of the functions on messages: ``python bench/micro_message.py``; best of seven, microseconds a call."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from time import process_time

from mailsrv import query as q
from mailsrv.message import addresses, dates, header, query, render, structure, summary, trace
from mailsrv.values import Address, TlsFacts

FIELDS = b"""Return-Path: <alice@example.org>
Received: from mail.example.org (mail.example.org [192.0.2.1])
\tby mx.example.net with ESMTPS
\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384)
\tid 0123456789ABC for <bob@example.net>;
\tTue, 24 Nov 2026 04:00:00 +0000
Received: from localhost (localhost [127.0.0.1])
\tby mail.example.org with ESMTP id 4F5A61B2
\tfor <bob@example.net>; Tue, 24 Nov 2026 03:59:58 +0000 (UTC)
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=sel;
\th=from:to:subject:date; bh=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ=;
\tb=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQabcdefghijklmnopqrstuvwxyz
\t abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQabcdefghijklmnopqrstuvwxyz==
Date: Tue, 24 Nov 2026 03:59:57 +0000
From: Alice %d Example <alice%d@example.org>
To: Bob Example <bob@example.net>, "Carol, C." <carol@example.net>
Cc: dave@example.com
Subject: A report about things
Message-ID: <%d.12345@example.org>
In-Reply-To: <abc@example.net>
References: <abc@example.net>
MIME-Version: 1.0
User-Agent: Mutt/2.2
"""
LINE = b"The quick brown fox jumps over the lazy dog and runs away from it. \n"
SAMPLES = 500


def plain(number: int) -> bytes:
    """About 4 KiB of text."""
    start = FIELDS % (number, number, number) + b"Content-Type: text/plain; charset=utf-8\n"
    return (start + b"Content-Transfer-Encoding: 8bit\n\n" + LINE * 45).replace(b"\n", b"\r\n")


def multipart(number: int) -> bytes:
    """About 21 KiB: text, HTML and an attachment."""
    outer, inner = b"----=_NextPart_000_%d" % number, b"----=_NextPart_001_%d" % number
    text = b"\n--%b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" % inner
    html = b"\n--%b\nContent-Type: text/html; charset=utf-8\n\n" % inner
    attachment = (
        b'\n--%b\nContent-Type: application/pdf; name="file.pdf"\nContent-Transfer-Encoding: base64\n'
        b'Content-Disposition: attachment; filename="file.pdf"\n\n' % outer
    )
    pieces = [
        FIELDS % (number, number, number), b'Content-Type: multipart/mixed; boundary="%b"\n\n--%b\n' % (outer, outer),
        b'Content-Type: multipart/alternative; boundary="%b"\n' % inner, text, LINE * 40, html, LINE * 60,
        b"\n--%b--\n" % inner, attachment, (b"QUJD" * 19 + b"\n") * 160, b"\n--%b--\n" % outer,
    ]  # fmt: skip
    return b"".join(pieces).replace(b"\n", b"\r\n")


def measure(name: str, function: Callable[..., object], samples: list[tuple[object, ...]], count: int = 2000) -> None:
    """Write the best time of one call, the samples taken in turn."""
    best = float("inf")
    for _ in range(7):
        turns = list(itertools.islice(itertools.cycle(samples), count))
        before = process_time()
        for sample in turns:
            function(*sample)
        best = min(best, (process_time() - before) / count)
    sys.stdout.write(f"{name:28}{best * 1e6:9.2f} us\n")


def main() -> None:
    """All rows."""
    small, large = [plain(n) for n in range(SAMPLES)], [multipart(n) for n in range(SAMPLES)]
    block = small[0][: header.header_end(small[0])]
    record = summary.summarise(large[0])
    made = summary.Summary(record)
    names = (b"From", b"To", b"Cc", b"Subject", b"Date", b"Message-ID", b"References", b"Content-Type", b"Reply-To")
    measure(f"summarise {len(small[0])} plain", summary.summarise, [(octets,) for octets in small])
    measure(f"summarise {len(large[0])} multipart", summary.summarise, [(octets,) for octets in large])
    measure("parse plain", structure.parse, [(octets,) for octets in small])
    measure("parse multipart", structure.parse, [(octets,) for octets in large])
    measure("envelope", render.envelope, [(structure.parse(octets).fields,) for octets in small])
    measure("Summary(record).envelope", lambda: summary.Summary(record).envelope, [()], 20_000)
    measure("find (1, 2)", made.find, [((1, 2),)], 20_000)
    measure("select_fields", header.select_fields, [(block, names, False)])
    measure("parse_addresses", addresses.parse_addresses, [(b'Bob <bob@example.net>, "C, C." <carol@example.net>',)])
    measure("parse_date_field", dates.parse_date_field, [(b"Tue, 24 Nov 2026 03:59:57 +0000",)])
    measure("rfc5322", dates.rfc5322, [(1795492800 + n, 60) for n in range(100)])
    measure("count_received", trace.count_received, [(block,)])
    measure(
        "received_field", trace.received_field,
        [("mail.example.org", "192.0.2.1", "mail.example.org", "mx.example.net", "ESMTP", "0123456789ABC",
          Address("bob", "example.net"), 1795492800, 0, TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384"))],
    )  # fmt: skip
    subject = query.matcher(q.HeaderContains("subject", "nothing"))
    body = query.matcher(q.BodyContains("nothing"))
    measure("match SUBJECT", subject, [(query.Candidate(1, header=block),)])
    measure("match BODY plain", body, [(query.Candidate(1, content=octets),) for octets in small])
    measure("match BODY multipart", body, [(query.Candidate(1, content=octets),) for octets in large])


if __name__ == "__main__":
    main()
