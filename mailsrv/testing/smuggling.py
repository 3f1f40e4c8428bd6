"""How messages were smuggled: what some servers took for the end of a message, and others sent on as text."""

from __future__ import annotations

#: Ends of a message that other servers knew or know (CVE-2023-51764 to 51766, CVE-2024-27305).
FALSE_ENDS = [
    b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r.\n", b"\n\n.\n\n", b"\r\r.\r\r",
    b"\r\n.\r\r\n", b"\r\n\n.\r\n", b"\n\r.\r\n", b"\r\n\r.\r\n", b"\r\n.\n\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
    b"\r\n.\x0b\r\n", b"\r\n \r.\r\n", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\xc2\x85.\xc2\x85", b"\r\n. \r\n",
    b"\r\n.\t\r\n",
]  # fmt: skip
#: What would be said after it.
EVIL = b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<me@example.org>\r\nDATA\r\nevil\r\n"
