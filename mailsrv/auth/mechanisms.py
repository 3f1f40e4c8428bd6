"""The SASL mechanisms as parts (floor 2b); they live in `wire/sasl` and `wire/ntlm`.

A mechanism's builder gets the options of the virtual server that is to offer it, and the site.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..interfaces import ISaslMechanism
from ..wire.ntlm import Ntlm
from ..wire.sasl import mechanisms


def _one(name: str, server: Any, site: Any) -> ISaslMechanism:
    """The mechanism of that name."""
    return mechanisms()[name]


#: Of most nothing can be set.
scram_sha_256_plus = partial(_one, "SCRAM-SHA-256-PLUS")
scram_sha_1_plus = partial(_one, "SCRAM-SHA-1-PLUS")
scram_sha_256 = partial(_one, "SCRAM-SHA-256")
scram_sha_1 = partial(_one, "SCRAM-SHA-1")
external = partial(_one, "EXTERNAL")
oauthbearer = partial(_one, "OAUTHBEARER")
xoauth2 = partial(_one, "XOAUTH2")
cram_md5 = partial(_one, "CRAM-MD5")
plain = partial(_one, "PLAIN")
login = partial(_one, "LOGIN")
anonymous = partial(_one, "ANONYMOUS")


def ntlm(server: Any, site: Any) -> Ntlm:
    """NTLM: by NT hashes that are kept here, or else by an authenticator that asks a domain controller."""
    kinds = frozenset().union(*(getattr(a, "kinds", ()) for a in site.logins.authenticators))
    schemes = frozenset().union(*(a.schemes for a in site.logins.authenticators))
    return Ntlm(v1=server.ntlm_v1, external="ntlm" not in kinds and "response" in schemes)
