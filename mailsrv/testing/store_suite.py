"""The contract suite of message stores: subclass `StoreContract`, give it `make`, and let pytest run it.

    class TestMyStore(StoreContract):
        def make(self, tmp_path):
            return MyStore(tmp_path, call_from_thread=(loop := Loop()).call_from_thread), loop

A store that survives a restart also subclasses `PersistentStoreContract` and gives it `reopen`; one whose memory of
removals can be made short also subclasses `ShortHistoryContract`.  What the suite asks is written in
`mailsrv/interfaces.py`; where a rule is shared by all stores it is in `mailsrv/store/names.py`, `keywords.py`,
`directory_rules.py`, `login_rules.py` and `queue_rules.py`.  The part about app passwords is for a directory with
`IAppPasswords`, that about the queue for a store with `IQueue`, those about annotations and rights for one with
`IMetadata` and `IGrants`.
"""

from __future__ import annotations

import pytest

# Before the subjects are imported, so that their assertions explain themselves.
pytest.register_assert_rewrite(
    *(
        f"mailsrv.testing.store_suite_{subject}"
        for subject in (
            "base",
            "changes",
            "copies",
            "delivery",
            "directory",
            "logins",
            "mailboxes",
            "messages",
            "persistent",
            "queue",
            "queue_admin",
            "search",
            "sharing",
        )
    )
)

from .store_suite_changes import ChangesContract, RandomChangesContract, ShortHistoryContract  # noqa: E402
from .store_suite_copies import CopyContract, ExpungeContract  # noqa: E402
from .store_suite_delivery import DeliveryContract, WatchContract  # noqa: E402
from .store_suite_directory import AccountsContract, AliasesContract  # noqa: E402
from .store_suite_limits import LimitsContract  # noqa: E402
from .store_suite_logins import AppPasswordsContract, SecretsContract  # noqa: E402
from .store_suite_mailboxes import MailboxesContract, RenameContract  # noqa: E402
from .store_suite_messages import AppendContract, FlagContract  # noqa: E402
from .store_suite_persistent import PersistentStoreContract  # noqa: E402
from .store_suite_queue import QueueContract  # noqa: E402
from .store_suite_queue_admin import QueueAdminContract  # noqa: E402
from .store_suite_search import SearchContract  # noqa: E402
from .store_suite_sharing import GrantsContract, MetadataContract, NoticesContract  # noqa: E402

__all__ = ["PersistentStoreContract", "ShortHistoryContract", "StoreContract"]


class StoreContract(
    AccountsContract,
    AliasesContract,
    SecretsContract,
    AppPasswordsContract,
    LimitsContract,
    MailboxesContract,
    RenameContract,
    AppendContract,
    FlagContract,
    ExpungeContract,
    CopyContract,
    ChangesContract,
    RandomChangesContract,
    DeliveryContract,
    WatchContract,
    SearchContract,
    QueueContract,
    QueueAdminContract,
    MetadataContract,
    GrantsContract,
    NoticesContract,
):
    """All that every store must do."""
