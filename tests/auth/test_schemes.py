"""Encoded passwords of other servers: every scheme with a text that its own tool made."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.auth.hashing import PasswordHasher
from mailsrv.auth.schemes import Unusable, check, cost_of, keys_of, known, split, with_scheme
from mailsrv.errors import MailError
from mailsrv.testing.loop import Loop
from tests.properties import tries

#: Of the password "secret".
OPENSSL = [
    "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
    "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/",
    "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.",
    "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
]
HTPASSWD = [
    "eLD6/EIlCoEHE",
    "$2y$05$HmK6llMi6.MRJKBW/edI..SiRwthEWE8ZW3eUCIAJUzIBBIk.I63a",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "$apr1$0l9dPYdr$sQ2OCXlADGql0PDV1Yeo51",
]
DOVEADM = [
    "{PLAIN}secret",
    "{CLEARTEXT}secret",
    "{CRYPT}$2y$05$HXMz0kfsKGN6/llAbOnqZ.beWj6Lt96mGQs28q9r0.Y8/hIovvf8G",
    "{SHA512-CRYPT}$6$17O1Hk.yxOMHfs4D$JrqEU/mcPazyXUkJzJmQm9HEiriwFb8o1OJUh3T8L1K.K/hCawC747IY.MHBGyq9YNxWpPV1kf0f6A"
    "yClyETZ/",
    "{SHA256-CRYPT}$5$3gZFP/Us8h1mwCfw$vno6rroPWkmtH7zRHIJ8feBi2MhejhGZ0NQZPhjT5g8",
    "{MD5-CRYPT}$1$RlTmRVG/$WH158TRnqZ/fCzP7A2YxJ/",
    "{MD5}$1$m1LFOXu0$U1Bn6D.D.Conq/nVdo3hz1",
    "{DES-CRYPT}oiAuskrcnS8fs",
    "{BLF-CRYPT}$2y$05$8UlpCLWq1SwDBDZ9/kQz.ewP7be6NF1XcIlZfw3eSmiMNtFgTbfJy",
    "{PBKDF2}$1$vwiMvXyG37ryaCAB$5000$fe306b639abb2ef7dbf10769513d8f7919051f46",
    "{SSHA}HiEWnXqFJPoXrRNneCL/Vlc9mBZwTj5G",
    "{SSHA256}fEEo6QrIClOBDHPbYv0o9QCc82Z76R7u5PDs4rE8V39tWf5I",
    "{SSHA512}sT1eDmzGsVn/ZAauOIBgjVpb49zHCPCEvUq08CFrHu8eUlYm5SkvMzIUjobg5onFJsT/0XZpa0YC1YJW71IjWt4jcz8=",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SHA1}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
    "{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
    "{SMD5}9jmRT/9PvWzDKi8OWX1VOcJeX6k=",
    "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69",
    "{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
    "{SCRAM-SHA-1}4096,Oquaw0JwPYs8ixaEgYDTmg==,Im4qPQYmZRT1/imszz1L0kfejps=,diegNXkNbAgpm4XG6Cv2xzgclDw=",
    "{SCRAM-SHA-256}4096,FOFxfio6JSlt+DLWw7hZQA==,axCvnRh1AMucPqcvsUYerIJzCbmxi2sYw15ZRjJ2+Bw=,"
    "j+FqsD3K+fxPyua5NkXGoW68P8XHNepBHoRiWkhGip8=",
    "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
    "{CRAM-MD5.B64}zTun3qrW5cojRIukLjeXR6ng9/H7wAyKgbuqw5VzG1Y=",
    "{SSHA.HEX}86eaaf71ca1b177b2e42ce5db8873d5a9e4dff2f8a9482ac",
    "{SHA256.HEX}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
    "{PLAIN-MD5.B64}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
    "{sha256.b64}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
    "{PLAIN.B64}c2VjcmV0",
    "{PLAIN.HEX}736563726574",
]
#: Samba's pdbedit, and older Dovecots.
NT_HASH = ["{NTLM}878D8014606CDA29677A44EFA1353FC7", "{NTLM.B64}h42AFGBs2ilnekTvoTU/xw=="]
ARGON2 = [
    "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$DsTMPFZ9JxGXx65mB0OrEQ$YLT8KKhvSncvBqC9S7Tg53U4RuM4P9AZkmHBZbxbezU",
    "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$AZsmRuIzsJiqteA3meBmSQ$eV3dIKysDEV+Xk2IH0EOfAwbYjtER0OPj+zUaLl7raE",
]


@pytest.mark.parametrize("encoded", OPENSSL + HTPASSWD + DOVEADM + NT_HASH)
def test_what_other_tools_made_is_right_for_its_password_only(encoded: str) -> None:
    assert check(encoded, b"secret")
    for wrong in (b"", b"Secret", b"secret ", b"secre", b"\0secret"):
        assert not check(encoded, wrong)


@pytest.mark.parametrize("encoded", [*OPENSSL, *HTPASSWD])
def test_crypt_does_not_stop_at_a_nul(encoded: str) -> None:
    assert not check(encoded, b"secret\0and more")


@pytest.mark.parametrize("encoded", ["{CRYPT}*", "{CRYPT}!", "{CRYPT}!" + OPENSSL[3], "{BLF-CRYPT}!!"])
def test_a_locked_account_has_no_password(encoded: str) -> None:
    for password in (b"", b"secret", encoded.encode()):
        assert not check(encoded, password)


@pytest.mark.parametrize("encoded", ARGON2)
def test_argon2_of_other_costs_is_checked_by_the_hasher_and_is_stale(encoded: str) -> None:
    loop = Loop()
    hasher = PasswordHasher(loop.call_from_thread)
    try:
        assert loop.run(hasher.verify(encoded, "secret")) is True
        assert loop.run(hasher.verify(encoded, "Secret")) is False
        assert hasher.stale(encoded)
    finally:
        hasher.close()


def test_bcrypt_looks_at_72_octets_as_it_always_did() -> None:
    import bcrypt

    encoded = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert check(encoded, b"x" * 72) and check(encoded, b"x" * 100) and not check(encoded, b"x" * 71)


@pytest.mark.parametrize(
    "encoded",
    [
        "", "x", "{}x", "{NOPE}x", "{SHA}", "{SHA}x", "{SHA}!!!!", "{SSHA}AAAA", "{SHA}" + "A" * 32,
        "{SHA.HEX}5e",
        "{CRYPT}", "{CRYPT}$y$j9T$x$y", "$2b$31$" + "." * 53, "$2b$xx$" + "." * 53,
        "$2b$04$short",
        "$6$rounds=999999999$salt$x", "$5$rounds=99999999999$salt$x", "$6$", "$1$a$b", "$apr1$", "{NTLM}00",
        "{PBKDF2}$1$salt$0$00", "{PBKDF2}$1$salt$99999999999$00", "{PBKDF2}$1$salt$5000$", "{PBKDF2}$1$salt$5000$0",
        "{SCRAM-SHA-1}4096,a,b", "{SCRAM-SHA-1}0,AAAA,AAAA,AAAA", "{SCRAM-SHA-256}9999999999,AAAA,AAAA,AAAA",
        "{PLAIN}" + "x" * 4096, "{SHA}größe", "\u0661" * 13,
    ],
)  # fmt: skip
def test_what_cannot_be_used_says_so_without_showing_it(encoded: str) -> None:
    with pytest.raises(Unusable) as error:
        check(encoded, b"secret")
    shown = str(error.value)
    assert (len(shown) < 60 and error.value.__suppress_context__) or error.value.__cause__ is None
    assert len(encoded) < 5 or encoded not in shown


@given(
    st.one_of(
        st.text(max_size=60),
        st.tuples(st.sampled_from(OPENSSL + HTPASSWD + DOVEADM + NT_HASH), st.integers(0, 60), st.text(max_size=3)).map(
            lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]
        ),
    )
)
@settings(max_examples=tries(150), deadline=None)
def test_no_text_makes_anything_but_right_wrong_or_unusable(encoded: str) -> None:
    for call in (lambda: check(encoded, b"secret"), lambda: keys_of(encoded, "ntlm"), lambda: cost_of(encoded)):
        try:
            call()
        except Unusable:
            pass


def test_names_and_suffixes() -> None:
    assert split("{ssha256.Hex}00") == ("SSHA256", "HEX", "00")
    assert split("{SHA.base64}AA") == ("SHA", "B64", "AA") and split("$1$x") == ("CRYPT", "", "$1$x")
    assert with_scheme("secret", "PLAIN") == "{PLAIN}secret" and with_scheme("", "PLAIN") == ""
    assert with_scheme("{SHA}x", "PLAIN") == "{SHA}x" and with_scheme("$6$x", "PLAIN") == "$6$x"
    assert known("SSHA") and known("ARGON2ID") and not known("LANMAN")


def test_cost_tells_slow_hashes_apart() -> None:
    assert cost_of(OPENSSL[3]) == cost_of(DOVEADM[3]) != cost_of(OPENSSL[2])
    assert cost_of("$6$rounds=9000$a$b") != cost_of("$6$a$b")
    assert cost_of("$2y$05$x") == cost_of("$2b$05$y") != cost_of("$2y$06$x")
    assert cost_of(ARGON2[0]) and cost_of("{PBKDF2}$1$salt$5000$00")
    for quick in ("", "x", "{PLAIN}secret", "{SSHA}x", "{PBKDF2}x"):
        assert cost_of(quick) == ""


def test_the_hasher_checks_them_in_its_pool_and_remembers_them() -> None:
    loop = Loop()
    hasher = PasswordHasher(loop.call_from_thread)
    checked: list[str] = []
    real = hasher._check
    hasher._check = lambda encoded, secret: (checked.append(encoded), real(encoded, secret))[1]  # type: ignore
    try:
        for _ in range(3):
            assert loop.run(hasher.verify("{PLAIN}pa\u0308ss", "p\u00e4ss", "me"))
        assert checked == ["{PLAIN}pa\u0308ss"]
        assert not loop.run(hasher.verify("{SSHA}damaged", "", "me"))
    finally:
        hasher.close()


def test_a_quick_scheme_refuses_no_quicker_than_argon2() -> None:
    loop = Loop()
    hasher = PasswordHasher(loop.call_from_thread)
    decoys: list[bytes] = []
    hasher._against_decoy = decoys.append  # type: ignore[method-assign]
    try:
        assert not loop.run(hasher.verify("{PLAIN}secret", "wrong"))
        assert loop.run(hasher.verify("{PLAIN}secret", "secret"))
        assert decoys == [b"wrong"]
    finally:
        hasher.close()


def test_who_is_unknown_can_take_as_long_as_a_slower_hash_and_is_never_right() -> None:
    loop = Loop()
    hasher = PasswordHasher(loop.call_from_thread)
    checked: list[str] = []
    real = hasher._check
    hasher._check = lambda encoded, secret: (checked.append(encoded), real(encoded, secret))[1]  # type: ignore
    try:
        hasher.imitate(HTPASSWD[1])
        assert loop.run(hasher.verify("", "secret")) is False and checked == [HTPASSWD[1]]
        assert loop.run(hasher.verify("", "secret")) is False and len(checked) == 2
    finally:
        hasher.close()


def test_work_for_the_pool_gives_its_result_or_its_mail_error() -> None:
    loop = Loop()
    hasher = PasswordHasher(loop.call_from_thread)

    def fail(error: MailError) -> None:
        raise error

    try:
        assert loop.run(hasher.run(lambda a, b: a + b, 1, 2)) == 3
        assert loop.run(hasher.run(lambda: None)) is None
        with pytest.raises(MailError) as raised:
            loop.run(hasher.run(fail, MailError("so it is")))
        assert raised.value.text == "so it is"
    finally:
        hasher.close()
