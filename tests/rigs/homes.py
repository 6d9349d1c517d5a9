"""Homes of alice and bob that the tests of one process have for themselves.

JupyterLab keeps in a home what it opens again: with one home for all, a test would find
the notebooks of another process's tests, whose kernels then start. The accounts and
their paths stay; what lies there is seen by us and by what we start
(mount_namespaces(7)).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from rigs.slurm.daemons import ACCOUNTS, make_accounts

_NEW_MOUNTS = 0x0002_0000  # CLONE_NEWNS of linux/sched.h
_SKELETON = Path("/etc/skel")


class Homes:
    """New, empty homes in a directory of ours, at the accounts' paths.

    Must be made by the thread that starts the daemons: namespaces are a thread's.
    """

    def __init__(self) -> None:
        make_accounts()
        self._directory = Path(tempfile.mkdtemp(prefix="lbhomes-", dir="/var/tmp"))
        self._directory.chmod(0o755)
        self._people = [pwd.getpwnam(name) for name in ACCOUNTS]
        if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS) != 0:
            raise OSError(ctypes.get_errno(), "unshare: no mounts of our own")
        # Nothing gets out; what tests mount over a home reaches those that follow us.
        _run("mount", "--make-rprivate", "/")
        _run("mount", "--make-rshared", "/")
        for person in self._people:
            place = self._directory / person.pw_name
            place.mkdir(0o700)
            _run("mount", "--bind", str(place), person.pw_dir)
        self.empty()

    def empty(self) -> None:
        """Bring the homes to what a new account has."""
        for person in self._people:
            home = Path(person.pw_dir)
            for entry in home.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            shutil.copytree(_SKELETON, home, symlinks=True, dirs_exist_ok=True)
            home.chmod(0o700)
            for path in (home, *home.rglob("*")):
                os.chown(path, person.pw_uid, person.pw_gid, follow_symlinks=False)

    def close(self) -> None:
        """Bring the machine's homes back and remove ours."""
        for person in self._people:
            _run("umount", "--lazy", person.pw_dir)
        shutil.rmtree(self._directory)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
