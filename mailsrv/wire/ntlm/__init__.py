"""NTLM ([MS-NLMP]) as a SASL mechanism, both sides (floor 1).

`Ntlm` is the mechanism, `keep` makes the text that an authenticator keeps of a password.  Decision 37; what clients
really send is told where it is read.
"""

from .crypto import keep
from .mechanism import Ntlm

__all__ = ["Ntlm", "keep"]
