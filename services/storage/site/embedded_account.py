"""As whom the embedded store runs where the hub is root: as an account of its own.

The store reads what strangers send. As root, a fault in it would be everybody's; as an
account that owns nothing but its objects, it is the store's alone.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from ..s3.errors import StoreUnavailable

log = logging.getLogger(__name__)

OWN_ACCOUNT = "landbridge-store"
ROOT = "root"
_SECONDS = 30
_SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"


def store_account(named: str, directory: Path, program: str) -> str | None:
    """Return the account for the store; ``None`` for the one that we are. Blocks.

    Where the site has named none, it is a system account of its own, which is made
    if need be. Where that cannot be, the store runs as root, as the log then says.

    Args:
        named: ``storage.account``; ``root`` to have no other account.
        directory: the store's own.
        program: that is run.

    Raises:
        StoreUnavailable: the account that was named is not there, or cannot reach
            the directory or the program.
    """
    if os.geteuid() != 0 or named == ROOT:
        return None
    fault = _fault(named or OWN_ACCOUNT, directory, program, make=not named)
    if not fault:
        return named or OWN_ACCOUNT
    if named:
        raise StoreUnavailable(
            f"The embedded store cannot run as {named}: {fault}",
            hint="Mend it, or set storage.account to another account.",
        )
    log.warning(
        'The embedded store runs as root: %s Mend it, or set storage.account = "root" '
        "to have it so.",
        fault,
    )
    return None


def as_account(account: pwd.struct_passwd, *, low_port: bool) -> list[str]:
    """Return what root puts before a command so that it runs as ``account``.

    Args:
        account: that it becomes, without groups, and never another.
        low_port: of root's rights it keeps the one to bind a protected port.
    """
    rights = "-all,+net_bind_service" if low_port else "-all"
    return [
        shutil.which("setpriv", path=_SYSTEM) or "setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--no-new-privs",
        f"--inh-caps={rights}",
        f"--ambient-caps={rights}",
        f"--bounding-set={rights}",
        "--",
    ]


def _fault(name: str, directory: Path, program: str, *, make: bool) -> str:
    """Return why the store cannot run as ``name``; ``""`` if it can."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        if not make:
            return "there is no such account on this machine."
        fault = _make(name)
        if fault:
            return fault
        account = pwd.getpwnam(name)
    if account.pw_uid == 0:
        return "it is root by another name."
    if shutil.which("setpriv", path=_SYSTEM) is None:
        return "setpriv, of util-linux, is not installed."
    for command, what in (
        (["test", "-x", str(directory.parent)], str(directory.parent)),
        ([program, "version"], program),
    ):
        if not _runs(command, account):
            return f"the account {name} cannot reach {what}."
    return ""


def _make(name: str) -> str:
    """Make a system account without home or shell; return why it could not be."""
    command = shutil.which("useradd", path=_SYSTEM)
    if command is None:
        return f"there is no account {name}, and no useradd to make it."
    done = subprocess.run(
        [
            command,
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir=/nonexistent",
            "--shell=/usr/sbin/nologin",
            "--comment=Landbridge's object store",
            name,
        ],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    try:
        pwd.getpwnam(name)
    except KeyError:
        return f"there is no account {name}, and useradd says: {done.stderr.strip()}."
    log.info("Made the system account %s for the embedded store", name)
    return ""


def _runs(command: list[str], account: pwd.struct_passwd) -> bool:
    try:
        done = subprocess.run(
            command,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": _SYSTEM, "HOME": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
