"""The parts of the wiki.  They are named by dotted path: Twisted imports this file for every `twistd` command."""

from mailsrv.interfaces import IAuthenticator
from mailsrv.parts import Part

authenticator_wiki = Part(IAuthenticator, "wiki", "own_authenticator:Options", "own_authenticator:build")
