"""NTLM arithmetic and messages against published examples: RFC 1320, [MS-NLMP] section 4.2."""

from __future__ import annotations

import pytest

from mailsrv.errors import Refused
from mailsrv.wire.ntlm import crypto, keep, messages
from mailsrv.wire.ntlm.md4 import md4
from mailsrv.wire.ntlm.messages import AuthenticateMessage, Av, Flag

#: [MS-NLMP] section 4.2.1.
SERVER, CLIENT = bytes.fromhex("0123456789abcdef"), b"\xaa" * 8
SESSION = b"U" * 16
NT_HASH = bytes.fromhex("a4f49c406510bdcab6824ee7c30fd852")
NAMES = "44006f006d00610069006e00 5500730065007200 43004f004d0050005500540045005200"
#: Section 4.2.4.1.3: the client's part of NTLMv2.
TEMP = bytes.fromhex(
    "0101000000000000 0000000000000000 aaaaaaaaaaaaaaaa 00000000"
    "02000c0044006f006d00610069006e00 01000c00530065007200760065007200 00000000 00000000"
)

#: Sections 4.2.2.3, 4.2.3.3 and 4.2.4.3.
V1_AUTHENTICATE = bytes.fromhex(
    "4e544c4d53535000 03000000 180018006c000000 1800180084000000 0c000c0048000000 0800080054000000 100010005c000000"
    "100010009c000000 358280e2 0501280a0000000f" + NAMES + "98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13"
    "67c43011f30298a2ad35ece64f16331c44bdbed927841f94 518822b1b3f350c8958682ecbb3e3cb7"
)
SESSION_AUTHENTICATE = bytes.fromhex(
    "4e544c4d53535000 03000000 180018006c000000 1800180084000000 0c000c0048000000 0800080054000000 100010005c000000"
    "000000009c000000 35820882 0501280a0000000f" + NAMES + "aaaaaaaaaaaaaaaa00000000000000000000000000000000"
    "7537f803ae367128ca458204bde7caf81e97ed2683267232"
)
V2_CHALLENGE = bytes.fromhex(
    "4e544c4d53535000 02000000 0c000c0038000000 33828ae2 0123456789abcdef 0000000000000000 2400240044000000"
    "060070170000000f 530065007200760065007200"
    "02000c0044006f006d00610069006e00 01000c00530065007200760065007200 00000000"
)
V2_AUTHENTICATE = bytes.fromhex(
    "4e544c4d53535000 03000000 180018006c000000 5400540084000000 0c000c0048000000 0800080054000000 100010005c000000"
    "10001000d8000000 358288e2 0501280a0000000f" + NAMES + "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"
    "68cd0ab851e51c96aabc927bebef6a1c" + TEMP.hex() + "c5dad2544fc9799094ce1ce90bc9d03e"
)


@pytest.mark.parametrize(
    "text, digest",
    [
        ("", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        ("a", "bde52cb31de33e46245e05fbdbd6fb24"),
        ("abc", "a448017aaf21d8525fc10ae87aa6729d"),
        ("message digest", "d9130a8164549fe818874806e1c7014b"),
        ("abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "043f8582f241db351ce627e153e7f0e4"),
        ("1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_rfc1320_appendix_a5_digests(text: str, digest: str) -> None:
    assert md4(text.encode()).hex() == digest


@pytest.mark.parametrize("length", [55, 56, 63, 64, 119, 120, 128])
def test_rfc1320_section_3_1_padding_adds_a_block_where_the_length_has_no_room(length: int) -> None:
    # The digests of lengths around the edges all differ, and none depends on how the octets are cut.
    digests = {md4(bytes(n)) for n in (length - 1, length, length + 1)}
    assert len(digests) == 3


def test_nlmp_4_2_2_1_2_ntowfv1_is_what_is_kept() -> None:
    assert crypto.nt_hash("Password") == NT_HASH
    assert keep("Password") == NT_HASH.hex()
    assert crypto.kept(keep("Password")) == NT_HASH


def test_one_password_has_one_kept_form_however_it_was_typed() -> None:
    assert keep("Passwo\u0308rt") == keep("Passw\u00f6rt") != keep("Passwort")


def test_a_password_that_is_no_text_is_refused() -> None:
    with pytest.raises(Refused):
        keep("\ud800")


@pytest.mark.parametrize("text", ["", "a" * 31, "a" * 33, "g" * 32, " " * 32, "a4 " * 10 + "a4", "٣" * 32])
def test_a_damaged_text_is_nothing_kept(text: str) -> None:
    assert crypto.kept(text) is None


def test_nlmp_4_2_2_2_1_ntlmv1_response() -> None:
    assert crypto.ntlmv1(NT_HASH, SERVER).hex() == "67c43011f30298a2ad35ece64f16331c44bdbed927841f94"


def test_nlmp_4_2_3_2_2_ntlm2_session_response() -> None:
    response = crypto.ntlmv1(NT_HASH, crypto.session_challenge(SERVER, CLIENT))
    assert response.hex() == "7537f803ae367128ca458204bde7caf81e97ed2683267232"


def test_nlmp_4_2_4_ntlmv2_hash_proof_and_keys() -> None:
    key = crypto.ntowfv2(NT_HASH, crypto.upper("User"), "Domain")
    assert key.hex() == "0c868a403bfd7a93a3001ef22ef02e3f"
    proof = crypto.nt_proof(key, SERVER, TEMP)
    assert proof.hex() == "68cd0ab851e51c96aabc927bebef6a1c"
    # LMv2 is the same over the client's challenge alone (section 3.3.2).
    assert crypto.nt_proof(key, SERVER, CLIENT).hex() == "86c35097ac9cec102554764a57cccc19"
    base = crypto.session_base_key(key, proof)
    assert base.hex() == "8de40ccadbc14a82f15cb0ad0de95ca3"
    assert crypto.rc4(base, SESSION).hex() == "c5dad2544fc9799094ce1ce90bc9d03e"
    assert crypto.rc4(base, crypto.rc4(base, SESSION)) == SESSION


@pytest.mark.parametrize(
    "text, upper, ascii_upper",
    [("user1", "USER1", "USER1"), ("jürgen", "JÜRGEN", "JüRGEN"), ("straße", "STRAßE", "STRAßE")],
)
def test_upper_case_never_changes_how_many_letters_there_are(text: str, upper: str, ascii_upper: str) -> None:
    assert (crypto.upper(text), crypto.ascii_upper(text)) == (upper, ascii_upper)


def test_nlmp_4_2_2_3_authenticate_is_read() -> None:
    read = messages.read_authenticate(V1_AUTHENTICATE)
    assert messages.text(read.user, read.flags or 0) == "User"
    assert messages.text(read.domain, read.flags or 0) == "Domain"
    assert messages.text(read.workstation, read.flags or 0) == "COMPUTER"
    assert read.lm.hex() == "98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13"
    assert read.nt == crypto.ntlmv1(NT_HASH, SERVER)
    assert crypto.rc4(md4(NT_HASH), read.key) == SESSION
    assert (read.flags, read.mic) == (0xE2808235, None)


def test_nlmp_4_2_3_3_authenticate_is_read() -> None:
    read = messages.read_authenticate(SESSION_AUTHENTICATE)
    assert read.lm == CLIENT + bytes(16)
    assert read.nt == crypto.ntlmv1(NT_HASH, crypto.session_challenge(SERVER, CLIENT))
    assert (read.flags or 0) & Flag.EXTENDED_SESSIONSECURITY
    assert read.key == b""


def test_nlmp_4_2_4_3_challenge_is_read() -> None:
    read = messages.read_challenge(V2_CHALLENGE)
    assert (read.flags, read.challenge) == (0xE28A8233, SERVER)
    assert messages.text(read.target, read.flags) == "Server"
    pairs = messages.read_pairs(read.info)
    assert {kind: value.decode("utf-16-le") for kind, value in pairs.items()} == {
        Av.NB_DOMAIN: "Domain",
        Av.NB_COMPUTER: "Server",
    }


def test_nlmp_4_2_4_3_authenticate_is_read() -> None:
    read = messages.read_authenticate(V2_AUTHENTICATE)
    assert (read.flags, read.mic) == (0xE2888235, None)
    response = messages.read_response(read.nt)
    assert response.temp == TEMP
    assert set(response.pairs) == {Av.NB_DOMAIN, Av.NB_COMPUTER}
    assert not response.says_mic
    key = crypto.ntowfv2(NT_HASH, "USER", "Domain")
    assert response.proof == crypto.nt_proof(key, SERVER, response.temp)
    assert crypto.rc4(crypto.session_base_key(key, response.proof), read.key) == SESSION


def test_what_is_printed_is_read_again() -> None:
    flags = Flag.UNICODE | Flag.VERSION
    assert messages.read_negotiate(messages.print_negotiate(flags)) == flags
    message = AuthenticateMessage(b"l" * 24, b"n" * 24, b"d", b"u", b"w", b"k" * 16, flags, b"m" * 16)
    octets = messages.print_authenticate(message)
    assert messages.read_authenticate(octets) == message
    assert messages.read_authenticate(messages.without_mic(octets)).mic == bytes(16)
    assert messages.with_mic(messages.without_mic(octets), b"m" * 16) == octets


@pytest.mark.parametrize(
    "octets, flags, text",
    [
        ("jürgen".encode("utf-16-le"), Flag.UNICODE, "jürgen"),
        ("jürgen".encode(), Flag.OEM, "jürgen"),
        ("jürgen".encode("latin-1"), Flag.OEM, "jürgen"),
        (b"", Flag.UNICODE, ""),
    ],
)
def test_names_are_unicode_or_oem(octets: bytes, flags: int, text: str) -> None:
    assert messages.text(octets, flags) == text


def test_nlmp_2_2_2_1_file_time_counts_from_1601() -> None:
    assert int.from_bytes(messages.file_time(0.0), "little") == 116_444_736_000_000_000
    assert int.from_bytes(messages.file_time(1.5), "little") == 116_444_736_015_000_000
