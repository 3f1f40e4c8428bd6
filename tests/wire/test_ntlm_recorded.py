"""NTLM as real clients sent it, recorded on Debian 12 against the context of `test_ntlm`: user1@example.test with the
password "Password", challenge 0123456789abcdef."""

from __future__ import annotations

import pytest
from attrs import evolve
from test_ntlm import CONTEXT, refused, serve

from mailsrv.errors import AuthenticationFailed
from mailsrv.values import NeedSecrets
from mailsrv.wire.ntlm import Ntlm, keep, messages
from mailsrv.wire.ntlm.messages import Flag

#: curl 7.88.1, `--login-options AUTH=NTLM`: OEM names, NTLMv2 without a MIC, no Version; one record for each form
#: of the user's name: user1@example.test, EXAMPLE\user1, jürgen@example.test.
CURL_NEGOTIATE = "4e544c4d53535000 01000000 06820800 0000000000000000 0000000000000000"
_CURL_INFO = (
    "02000e004500580041004d0050004c004500 010008004d00410049004c00"
    "040018006500780061006d0070006c0065002e007400650073007400"
    "030022006d00610069006c002e006500780061006d0070006c0065002e007400650073007400"
    "0700080000006dc64717da01 00000000 00000000"
)
CURL_WHOLE = (
    "4e544c4d53535000 03000000 1800180040000000 a000a00058000000 00000000f8000000 12001200f8000000 0b000b000a010000"
    "0000000000000000 06828900"
    "d67857e19ffc6aee09331c62d5c0f16fa09afbe8e1caf89e 21ebec3f6f2f89a32fef0179e7f47987"
    "0101000000000000 80702c3de67bdd01 a09afbe8e1caf89e 00000000" + _CURL_INFO + "7573657231406578616d706c652e74657374"
    "574f524b53544154494f4e"
)
CURL_DOMAIN = (
    "4e544c4d53535000 03000000 1800180040000000 a000a00058000000 07000700f8000000 05000500ff000000 0b000b0004010000"
    "0000000000000000 06828900"
    "0bcf0e7b9137185a20512e12667a4d5930329d700d1963e4 6bc54238e2a1a27ac2b311fd649cb655"
    "0101000000000000 80702c3de67bdd01 30329d700d1963e4 00000000" + _CURL_INFO + "4558414d504c45 7573657231"
    "574f524b53544154494f4e"
)
CURL_UMLAUT = (
    "4e544c4d53535000 03000000 1800180040000000 a000a00058000000 00000000f8000000 14001400f8000000 0b000b000c010000"
    "0000000000000000 06828900"
    "0436fcc30769cde3d5987e6931dec94e023a7d6d311eb3c3 6731b707837c5b725f3ad111563a214b"
    "0101000000000000 006c925be67bdd01 023a7d6d311eb3c3 00000000" + _CURL_INFO + "6ac3bc7267656e406578616d706c652e7465"
    "7374 574f524b53544154494f4e"
)

#: swaks 20201014.0 with Authen::NTLM 1.09; Mail::IMAPClient 3.43 sends the same, but names the user in NEGOTIATE.
SWAKS_NEGOTIATE = "4e544c4d53535000 01000000 07a20000 0000000000000000 0000000000000000"
IMAPCLIENT_NEGOTIATE = (
    "4e544c4d53535000 01000000 07a20000 1200120020000000 0000000012000000 7573657231406578616d706c652e74657374"
)
SWAKS = (
    "4e544c4d53535000 03000000 1800180040000000 1800180058000000 0e000e0070000000 240024007e000000 24002400a2000000"
    "0000000086000000 05828100"
    "98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13 67c43011f30298a2ad35ece64f16331c44bdbed927841f94"
    "4500580041004d0050004c004500 7500730065007200310040006500780061006d0070006c0065002e007400650073007400"
    "7500730065007200310040006500780061006d0070006c0065002e007400650073007400"
)

#: msmtp 1.8.23 and mpop 1.4.18, both with GNU SASL 2.2.0 and libntlm 1.6: the domain behind "@" made a domain.
GSASL_NEGOTIATE = (
    "4e544c4d53535000 01000000 07b20000 0500050020000000 0c000c0025000000 7573657231 6578616d706c652e74657374"
)
GSASL = (
    "4e544c4d53535000 03000000 180018006c000000 1800180084000000 1800180040000000 0a000a0058000000 0a000a0062000000"
    "000000009c000000 05828100 6500780061006d0070006c0065002e007400650073007400 75007300650072003100"
    "75007300650072003100"
    "98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13 67c43011f30298a2ad35ece64f16331c44bdbed927841f94"
)
#: The same with jürgen@example.test: octets of UTF-8 spread over UTF-16.
GSASL_UMLAUT_NEGOTIATE = (
    "4e544c4d53535000 01000000 07b20000 0700070020000000 0c000c0027000000 6ac3bc7267656e 6578616d706c652e74657374"
)
GSASL_UMLAUT = (
    "4e544c4d53535000 03000000 1800180074000000 180018008c000000 1800180040000000 0e000e0058000000 0e000e0066000000"
    "00000000a4000000 05828100 6500780061006d0070006c0065002e007400650073007400 6a00c300bc007200670065006e00"
    "6a00c300bc007200670065006e00"
    "98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13 67c43011f30298a2ad35ece64f16331c44bdbed927841f94"
)

#: fetchmail 6.4.37, POP3 and IMAP alike.
FETCHMAIL = (
    "4e544c4d53535000 03000000 1800180040000000 1800180058000000 1800180070000000 0a000a0088000000 0a000a0092000000"
    "000000005c000000 05828100"
    "98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13 67c43011f30298a2ad35ece64f16331c44bdbed927841f94"
    "6500780061006d0070006c0065002e007400650073007400 75007300650072003100 75007300650072003100"
)

#: mbsync 1.4.4 (Cyrus SASL): no LM response.
MBSYNC_NEGOTIATE = "4e544c4d53535000 01000000 07020000 0000000020000000 0000000020000000"
MBSYNC = (
    "4e544c4d53535000 03000000 0000000040000000 1800180040000000 0e000e0058000000 2400240066000000 000000008a000000"
    "000000008a000000 05020000"
    "67c43011f30298a2ad35ece64f16331c44bdbed927841f94 4500580041004d0050004c004500"
    "7500730065007200310040006500780061006d0070006c0065002e007400650073007400"
)

V2 = [
    pytest.param(CURL_NEGOTIATE, CURL_WHOLE, "user1@example.test", id="curl"),
    pytest.param(CURL_NEGOTIATE, CURL_DOMAIN, "user1", id="curl, with a domain"),
    pytest.param(CURL_NEGOTIATE, CURL_UMLAUT, "jürgen@example.test", id="curl, beyond ASCII"),
]
V1 = [
    pytest.param(SWAKS_NEGOTIATE, SWAKS, "user1@example.test", id="swaks"),
    pytest.param(IMAPCLIENT_NEGOTIATE, SWAKS, "user1@example.test", id="Mail::IMAPClient"),
    pytest.param(GSASL_NEGOTIATE, GSASL, "user1", id="msmtp, mpop"),
    pytest.param(GSASL_UMLAUT_NEGOTIATE, GSASL_UMLAUT, "jürgen", id="msmtp, beyond ASCII"),
    pytest.param(GSASL_NEGOTIATE, FETCHMAIL, "user1", id="fetchmail"),
    pytest.param(MBSYNC_NEGOTIATE, MBSYNC, "user1@example.test", id="mbsync"),
]


@pytest.mark.parametrize("negotiate, authenticate, login", V2)
def test_what_clients_of_ntlmv2_send(negotiate: str, authenticate: str, login: str) -> None:
    octets = bytes.fromhex(authenticate)
    outcome = serve(Ntlm(), bytes.fromhex(negotiate), lambda _: octets)
    assert outcome.identity is not None and outcome.asked == [NeedSecrets("ntlm", login)]
    # The client copied our names and time out of the challenge: the record is of this very context.
    info = messages.read_challenge(outcome.challenges[0]).info
    assert info in octets
    with pytest.raises(AuthenticationFailed):
        serve(Ntlm(), bytes.fromhex(negotiate), lambda _: octets, kept=keep("password"))


@pytest.mark.parametrize("negotiate, authenticate, login", V1)
def test_what_clients_of_ntlmv1_send(negotiate: str, authenticate: str, login: str) -> None:
    octets = bytes.fromhex(authenticate)
    outcome = serve(Ntlm(v1=True), bytes.fromhex(negotiate), lambda _: octets)
    assert outcome.identity is not None and outcome.asked == [NeedSecrets("ntlm", login)]
    refused(octets, flags=messages.read_negotiate(bytes.fromhex(negotiate)))
    with pytest.raises(AuthenticationFailed):
        serve(Ntlm(v1=True), bytes.fromhex(negotiate), lambda _: octets, kept=keep("password"))


@pytest.mark.parametrize("negotiate, authenticate, login", V1[2:5:2])
def test_a_domain_that_is_not_the_login_domain_is_kept(negotiate: str, authenticate: str, login: str) -> None:
    # GNU SASL and fetchmail tell user1@example.test of a server whose login domain is another.
    context = evolve(CONTEXT, login_domain="example.org", hostname="mail.example.org")
    octets = bytes.fromhex(authenticate)
    outcome = serve(Ntlm(v1=True), bytes.fromhex(negotiate), lambda _: octets, context)
    assert outcome.asked == [NeedSecrets("ntlm", f"example.test\\{login}")]


def test_the_flags_that_curl_and_mbsync_ask_with() -> None:
    curl, mbsync = (messages.read_negotiate(bytes.fromhex(text)) for text in (CURL_NEGOTIATE, MBSYNC_NEGOTIATE))
    assert curl & Flag.OEM and not curl & Flag.UNICODE
    assert mbsync & Flag.UNICODE and not mbsync & Flag.EXTENDED_SESSIONSECURITY
