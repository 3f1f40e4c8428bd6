"""The pages of a virtual server's properties, as administrators of Exchange know them (floor 4; S-173..S-177).

What a page holds is in the order that people look for it; options that the model did not have stand where they belong.
"""

from __future__ import annotations

from collections.abc import Mapping

from .show import Path

GENERAL, ACCESS, MESSAGES, DELIVERY, FORMAT = "General", "Access", "Messages", "Delivery", "Message Format"

#: Page -> group -> keys of a server's table ("delivery.retry": of the table inside it).
PAGES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    GENERAL: {
        "Server": ("title", "role", "startup"),
        "Bindings": ("listen", "trusted_proxies"),
        "Connections": ("max_connections", "max_connections_per_address", "idle_timeout", "login_timeout"),
        "Folders": ("public_account", "public_folders", "fast_retrieval", "separator", "literal_minus"),
        "Maildrop": ("maildrop_lock", "login_delay", "uidl_format"),
    },
    ACCESS: {
        "Authentication": (
            "authentication", "users", "login_domain", "login_without_tls", "failed_login_delay", "ntlm_v1", "ntlm_ok",
            "apop",
        ),
        "Certificate": ("certificate", "certificates"),
        "Communication": ("require_tls", "require_strong_tls"),
        "Connection": ("access", "xclient_from"),
        "Relay": ("relay", "relay_users", "etrn", "vrfy", "expn"),
        "Senders": ("sender_filter", "sender_check", "policies"),
    },
    MESSAGES: {
        "Limits": (
            "max_message_size", "max_session_size", "delivery.messages_per_connection", "max_recipients",
            "delivery.recipients_per_message", "message_timeout",
        ),
        "Content": ("bare_newlines", "default_domain", "hide_client", "received_user", "dsn"),
        "Undeliverable": (
            "delivery.ndr_copy", "delivery.report_size", "delivery.badmail", "delivery.badmail_size",
            "delivery.forward_unresolved",
        ),
    },
    DELIVERY: {
        "Times": ("delivery.retry", "delivery.delay_notification", "delivery.expiration"),
        "Outbound Security": (
            "delivery.auth", "delivery.username", "delivery.password_file", "delivery.password_env",
            "delivery.login_without_tls", "delivery.tls",
        ),
        "Outbound Connections": (
            "delivery.max_connections", "delivery.max_connections_per_domain", "delivery.timeout", "delivery.port",
            "delivery.addresses",
        ),
        "Advanced": (
            "max_hops", "delivery.masquerade_domain", "hostname", "reverse_lookup", "delivery.dns_servers",
        ),
    },
    FORMAT: {"Messages": ("format.body", "format.charset", "format.rich_text", "format.encoding", "format.binhex")},
}  # fmt: skip
_PLACES = {key: (page, group) for page, groups in PAGES.items() for group, keys in groups.items() for key in keys}
#: Protocols without a page of delivery have their name among what is general.
_OTHERS = {"hostname": (GENERAL, "Server")}


def place_of(path: Path) -> tuple[str, str]:
    """(page, group) of a key of a virtual server: ("smtp", "default", "delivery", "retry"); of others ("", "")."""
    if len(path) < 3 or path[0] not in ("smtp", "imap", "pop3"):
        return "", ""
    key = ".".join(path[2:])
    if path[0] != "smtp" and key in _OTHERS:
        return _OTHERS[key]
    return _PLACES.get(key, (GENERAL, "Server"))


def order_of(path: Path) -> tuple[int, int]:
    """For sorting: where on which page."""
    page, _ = place_of(path)
    keys = [key for keys in PAGES.get(page, {}).values() for key in keys]
    key = ".".join(path[2:])
    return [*PAGES, ""].index(page), keys.index(key) if key in keys else -1
