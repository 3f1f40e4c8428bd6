"""The parts of the wiki.  They are named by dotted path: Twisted imports this file for every `twistd` command."""

from mailsrv.interfaces import IAuthenticator, ISaslMechanism
from mailsrv.parts import Part

authenticator_wiki = Part(IAuthenticator, "wiki", "own_authenticator:Options", "own_authenticator:build")
mechanism_ticket = Part(ISaslMechanism, "x-ticket", None, "own_mechanism:build")
