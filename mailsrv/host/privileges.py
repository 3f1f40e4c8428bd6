"""From root to the user of `site.run_as`, once ports are bound (floor 6)."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from ..errors import ConfigError

KEY = "site.run_as"


@frozen
class Account:
    """A UNIX user and group."""

    user: str
    uid: int
    gid: int


def account_of(run_as: str) -> Account:
    """From "user" or "user:group"; without a group the user's own.  Raises ConfigError."""
    user, _, group = run_as.partition(":")
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f'there is no UNIX user "{user}"', key=KEY) from None
    try:
        return Account(user, found.pw_uid, grp.getgrnam(group).gr_gid if group else found.pw_gid)
    except KeyError:
        raise ConfigError(f'there is no UNIX group "{group}"', key=KEY) from None


def check(account: Account, data: Path) -> None:
    """Whether this process may become that user, and that user work with the data folder.  Raises ConfigError."""
    if os.geteuid() not in (0, account.uid):
        user = pwd.getpwuid(os.geteuid()).pw_name
        raise ConfigError(f"this process runs as {user}: only root can become {account.user}", key=KEY)
    if os.geteuid() != 0 or account.uid == 0:
        return
    for path in (data, *(data / name for name in ("index.db", "lock", "decoy.key"))):
        owner = path.stat().st_uid if path.exists() else account.uid
        if owner != account.uid:
            text = f"{path} belongs to user {owner}, not to {account.user}: chown -R {account.user} {data}"
            raise ConfigError(text, key=KEY)


@contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Make files as that user, for a moment.  Nothing where the process is that user already."""
    if os.geteuid() != 0 or account.uid == 0:
        yield
        return
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def become(account: Account) -> None:
    """Give up root for good: groups, group, user.  Raises ConfigError."""
    if os.geteuid() == account.uid:
        return
    try:
        os.initgroups(account.user, account.gid)
        os.setgid(account.gid)
        os.setuid(account.uid)
    except OSError as error:
        raise ConfigError(f"cannot become {account.user}: {error.strerror}", key=KEY) from error
    if os.getuid() != account.uid or os.geteuid() != account.uid or os.getgid() != account.gid:
        raise ConfigError(f"the system did not let this process become {account.user}", key=KEY)


def own_data(account: Account, data: Path) -> None:
    """Make the data folder, the user's own, when there is none.  Raises ConfigError."""
    if os.geteuid() == 0 and not data.exists():
        try:
            data.mkdir(mode=0o700, parents=True)
            os.chown(data, account.uid, account.gid)
        except OSError as error:
            raise ConfigError(f"the data folder {data} cannot be made: {error.strerror}", key="site.data") from error


def check_access(account: Account, data: Path) -> None:
    """Whether the user that the process is now reaches the data folder.  Raises ConfigError."""
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        text = f"{account.user} cannot reach {data}: every folder above it must be open to that user (o+x or g+x)"
        raise ConfigError(text, key=KEY)
