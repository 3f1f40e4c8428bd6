"""The parts that come with mailsrv, named by dotted path: Twisted imports this file for every `twistd` command."""

from mailsrv.interfaces import IAuthenticator, IAuthorizer, IMessagePolicy, IMessageStore, ISaslMechanism
from mailsrv.parts import Part

_MECHANISMS = "mailsrv.auth.mechanisms:"

store_sqlite = Part(
    IMessageStore, "sqlite", "mailsrv.store.parts:SqliteOptions", "mailsrv.store.parts:build_sqlite"
)
store_memory = Part(IMessageStore, "memory", None, "mailsrv.store.parts:build_memory")
authenticator_directory = Part(
    IAuthenticator, "directory", "mailsrv.auth.directory:Options", "mailsrv.auth.directory:build"
)
authenticator_certificate = Part(IAuthenticator, "certificate", None, "mailsrv.auth.certificates:build")
authenticator_any = Part(IAuthenticator, "any", "mailsrv.auth.any:Options", "mailsrv.auth.any:build")
authenticator_passwd = Part(IAuthenticator, "passwd", "mailsrv.auth.passwd:Options", "mailsrv.auth.passwd:build")
authenticator_sql = Part(IAuthenticator, "sql", "mailsrv.auth.sql:Options", "mailsrv.auth.sql:build")
authenticator_cred = Part(IAuthenticator, "cred", "mailsrv.auth.cred:Options", "mailsrv.auth.cred:build")
authenticator_jwt = Part(IAuthenticator, "jwt", "mailsrv.auth.jwt:Options", "mailsrv.auth.jwt:build")
authenticator_winbind = Part(IAuthenticator, "winbind", "mailsrv.auth.winbind:Options", "mailsrv.auth.winbind:build")
authenticator_anonymous = Part(IAuthenticator, "anonymous", None, "mailsrv.auth.anonymous:build")
mechanism_scram_sha_256_plus = Part(ISaslMechanism, "scram-sha-256-plus", None, _MECHANISMS + "scram_sha_256_plus")
mechanism_scram_sha_1_plus = Part(ISaslMechanism, "scram-sha-1-plus", None, _MECHANISMS + "scram_sha_1_plus")
mechanism_scram_sha_256 = Part(ISaslMechanism, "scram-sha-256", None, _MECHANISMS + "scram_sha_256")
mechanism_scram_sha_1 = Part(ISaslMechanism, "scram-sha-1", None, _MECHANISMS + "scram_sha_1")
mechanism_external = Part(ISaslMechanism, "external", None, _MECHANISMS + "external")
mechanism_oauthbearer = Part(ISaslMechanism, "oauthbearer", None, _MECHANISMS + "oauthbearer")
mechanism_xoauth2 = Part(ISaslMechanism, "xoauth2", None, _MECHANISMS + "xoauth2")
mechanism_cram_md5 = Part(ISaslMechanism, "cram-md5", None, _MECHANISMS + "cram_md5")
mechanism_ntlm = Part(ISaslMechanism, "ntlm", None, _MECHANISMS + "ntlm")
mechanism_plain = Part(ISaslMechanism, "plain", None, _MECHANISMS + "plain")
mechanism_login = Part(ISaslMechanism, "login", None, _MECHANISMS + "login")
mechanism_anonymous = Part(ISaslMechanism, "anonymous", None, _MECHANISMS + "anonymous")
authorizer_accounts = Part(
    IAuthorizer, "accounts", "mailsrv.auth.authorizer:Options", "mailsrv.auth.authorizer:build"
)
policy_relay = Part(IMessagePolicy, "relay", "mailsrv.access.relay:Options", "mailsrv.access.relay:build")
policy_senders = Part(IMessagePolicy, "senders", "mailsrv.access.senders:Options", "mailsrv.access.senders:build")
policy_own_sender = Part(
    IMessagePolicy, "own_sender", "mailsrv.access.own_sender:Options", "mailsrv.access.own_sender:build"
)
policy_helo = Part(IMessagePolicy, "helo", "mailsrv.access.helo:Options", "mailsrv.access.helo:build")
policy_fcrdns = Part(IMessagePolicy, "fcrdns", "mailsrv.access.fcrdns:Options", "mailsrv.access.fcrdns:build")
policy_rates = Part(IMessagePolicy, "rates", "mailsrv.access.rates:Options", "mailsrv.access.rates:build")
