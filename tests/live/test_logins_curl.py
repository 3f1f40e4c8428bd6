"""curl logs in by every mechanism it knows.

Debian's curl 7.88 has no SCRAM (it is built without GNU SASL), and with a token it takes OAUTHBEARER wherever that is
offered, even when told AUTH=XOAUTH2: `test_logins_clients.py` has clients for both.
"""

from __future__ import annotations

import pytest

from .conftest import Server, program
from .logins import ANNA, BO, PASSWORD, PROTOCOLS, SERVERS, new_lines, token
from .test_clients import run

pytestmark = pytest.mark.live

#: curl's own status for a refused login.
REFUSED = 67
INITIAL = pytest.mark.parametrize("initial", [True, False], ids=["initial", "bare"])
PROTOCOL = pytest.mark.parametrize("protocol", PROTOCOLS)


def curl(
    server: Server, protocol: str, mechanism: str, *more: str, tls: bool = False, name: str = "default", ok: int = 0
) -> None:
    """Log in, and do next to nothing."""
    url = f"{protocol}{'s' if tls else ''}://127.0.0.1:{server.port(f'{protocol}/{name}', tls)}/"
    nothing = () if protocol == "pop3" else ("-X", "NOOP")
    run(program("curl"), "-sk", url, *nothing, "--login-options", f"AUTH={mechanism}", *more, ok=(ok,))


@INITIAL
@PROTOCOL
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "NTLM"])
def test_curl_logs_in_by_password(logins: Server, protocol: str, mechanism: str, initial: bool) -> None:
    more = ("--sasl-ir",) if initial else ()
    with new_lines(logins) as lines:
        curl(logins, protocol, mechanism, "--user", f"{ANNA}:{PASSWORD}", *more)
        curl(logins, protocol, mechanism, "--user", f"{ANNA}:wrong", *more, ok=REFUSED)
    assert lines[0].endswith(f"login of {ANNA} on {SERVERS[protocol]} from 127.0.0.1 by {mechanism}")
    assert lines[1].endswith(f"login refused on {SERVERS[protocol]} from 127.0.0.1") and len(lines) == 2


@INITIAL
@PROTOCOL
def test_curl_logs_in_by_token(logins: Server, protocol: str, initial: bool) -> None:
    more = ("--sasl-ir",) if initial else ()
    with new_lines(logins) as lines:
        for shown, status in ((token(logins.folder, ANNA), 0), (token(logins.folder, BO), REFUSED)):
            bearer = ("--user", f"{ANNA}:", "--oauth2-bearer", shown)
            curl(logins, protocol, "OAUTHBEARER", *bearer, *more, tls=True, ok=status)
    assert lines[0].endswith(f"login of {ANNA} on {SERVERS[protocol]} from 127.0.0.1 by OAUTHBEARER")
    assert "login refused" in lines[1] and len(lines) == 2


@INITIAL
@PROTOCOL
def test_curl_logs_in_by_certificate(logins: Server, protocol: str, initial: bool) -> None:
    more = ("--sasl-ir",) if initial else ()
    shown = ("--cert", str(logins.folder / "person.crt"), "--key", str(logins.folder / "person.key"))
    with new_lines(logins) as lines:
        curl(logins, protocol, "EXTERNAL", "--user", f"{ANNA}:", *shown, *more, tls=True)
        # The certificate is Anna's: it does not make her Bo.
        curl(logins, protocol, "EXTERNAL", "--user", f"{BO}:", *shown, *more, tls=True, ok=REFUSED)
    assert lines[0].endswith(f"login of {ANNA} on {SERVERS[protocol]} from 127.0.0.1 by EXTERNAL")
    assert "login refused" in lines[1] and len(lines) == 2


@PROTOCOL
def test_curl_left_to_choose_takes_the_strongest_it_knows(logins: Server, protocol: str) -> None:
    with new_lines(logins) as lines:
        curl(logins, protocol, "*", "--user", f"{ANNA}:{PASSWORD}")
    assert lines[0].endswith(" by CRAM-MD5")


@PROTOCOL
@pytest.mark.parametrize("mechanism", ["NTLM", "PLAIN", "CRAM-MD5"])
def test_s_106_names_of_a_login(logins: Server, protocol: str, mechanism: str) -> None:
    names = ["anna", "Anna", "anna@example.test", "EXAMPLE\\anna", "example.test\\anna"]
    # With NTLM, curl itself reads a slash so.
    names += ["Example/anna"] if mechanism == "NTLM" else []
    for name in names:
        with new_lines(logins) as lines:
            curl(logins, protocol, mechanism, "--user", f"{name}:{PASSWORD}")
        assert f"login of {ANNA} on " in lines[0] and lines[0].endswith(f" by {mechanism}"), name
    for name in ("ELSEWHERE\\anna", "anna@elsewhere.example"):
        curl(logins, protocol, mechanism, "--user", f"{name}:{PASSWORD}", ok=REFUSED)


@PROTOCOL
def test_ntlm_v2_is_taken_where_v1_is_not(logins: Server, protocol: str) -> None:
    """curl answers with NTLMv2; `test_logins_clients.py` has those that are refused here."""
    with new_lines(logins) as lines:
        curl(logins, protocol, "NTLM", "--user", f"{ANNA}:{PASSWORD}", name="strict")
    assert lines[0].endswith(f"login of {ANNA} on {protocol}/strict from 127.0.0.1 by NTLM")
