"""The parts that come with mailsrv, named by dotted path: Twisted imports this file for every `twistd` command."""

from mailsrv.interfaces import IAuthenticator, IMessagePolicy, IMessageStore, ISaslMechanism
from mailsrv.parts import Part

store_sqlite = Part(
    IMessageStore, "sqlite", "mailsrv.store.parts:SqliteOptions", "mailsrv.store.parts:build_sqlite"
)
store_memory = Part(IMessageStore, "memory", None, "mailsrv.store.parts:build_memory")
authenticator_directory = Part(
    IAuthenticator, "directory", "mailsrv.auth.directory:Options", "mailsrv.auth.directory:build"
)
authenticator_certificate = Part(IAuthenticator, "certificate", None, "mailsrv.auth.certificates:build")
authenticator_any = Part(IAuthenticator, "any", "mailsrv.auth.any:Options", "mailsrv.auth.any:build")
mechanism_plain = Part(ISaslMechanism, "plain", None, "mailsrv.auth.mechanisms:build_plain")
mechanism_login = Part(ISaslMechanism, "login", None, "mailsrv.auth.mechanisms:build_login")
policy_relay = Part(IMessagePolicy, "relay", "mailsrv.access.relay:Options", "mailsrv.access.relay:build")
