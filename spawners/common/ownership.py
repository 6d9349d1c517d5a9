"""Whether a directory or a file is ours alone. What others can change is refused.

Where a program keeps its secrets, its sockets and its code, whoever owns a directory
above, or can write to one, decides what it reads there. So nothing that was found is
believed: each step of a path is looked at, and what is ours but too open is closed.

In words that Python 3.6 can read: ``scripts/bootstrap.py`` looks before anything is
installed.
"""

import contextlib
import errno
import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Iterable, Iterator, List, Tuple, Union

AnyPath = Union[str, "os.PathLike[str]"]

_MOST_LINKS = 40
_MOST_BYTES = 1 << 20
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NotOurs(PermissionError):
    """Something that only we may change is not ours, or others can change it.

    Attributes:
        filename: what it is about.
        strerror: what is wrong with it and what to do, as a sentence for an operator.
    """

    def __init__(self, path: AnyPath, words: str) -> None:
        super().__init__(errno.EACCES, words, os.fspath(path))

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


def own_directory(
    path: AnyPath,
    mode: int = 0o700,
    *,
    readable: bool = False,
    others: Iterable[int] = (),
) -> None:
    """Make a directory of ours, or see that the one that is there is ours alone.

    Parents are made as needed. One of ours that is more open than ``mode`` is closed;
    if others could write to it, everything in it must be ours, too.

    Args:
        path: may lead through symbolic links that we or root made.
        mode: of a new one, and the most that it is open.
        readable: one that is there may be more open, but not to be written by others.
        others: user ids of further accounts that may own it.

    Raises:
        NotOurs: somebody else made it, or can replace it; says what to do.
        OSError: it cannot be made, or is no directory.
    """
    check_way(path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    real = check_way(path)
    owners = {os.geteuid(), *others}
    handle = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        facts = os.fstat(handle)
        _check_owner(path, facts, owners)
        now = stat.S_IMODE(facts.st_mode)
        closed = now & (~_OTHERS_WRITE if readable else mode)
        if closed != now and os.geteuid() in (0, facts.st_uid):
            os.fchmod(handle, closed)
        if now & _OTHERS_WRITE:
            check_below(real, owners)
    finally:
        os.close(handle)


def check_below(
    directory: AnyPath,
    owners: Iterable[int] = (),
    *,
    deep: bool = True,
    leave: Iterable[str] = (),
) -> None:
    """See that all in ``directory`` is ours: files, directories, links, sockets.

    Args:
        directory: nothing is said of the directory itself.
        owners: user ids that may own what lies there, besides root; ours if none
            are given.
        deep: look into the directories in it, too.
        leave: names in it that are not looked at.

    Raises:
        NotOurs: naming what is somebody else's.
    """
    allowed = {0, *(set(owners) or {os.geteuid()})}
    for name in set(os.listdir(directory)) - set(leave):
        path = os.path.join(directory, name)
        try:
            facts = os.lstat(path)
        except FileNotFoundError:
            continue  # a gateway that runs may just take it away
        _check_owner(path, facts, allowed)
        if deep and stat.S_ISDIR(facts.st_mode):
            check_below(path, allowed)


def check_way(path: AnyPath) -> str:
    """Return the real path, after a look at every directory and link on the way.

    What is not there yet is no fault; the last part may be anything.

    Raises:
        NotOurs: somebody else than us, root or the owner of this code could put
            another thing in its place.
    """
    trusted = {0, os.geteuid(), os.lstat(__file__).st_uid}
    here = "/"
    for step, facts, last in _steps(os.path.abspath(os.fspath(path))):
        here = step
        leads = stat.S_ISLNK(facts.st_mode) or not last
        if leads and facts.st_uid not in trusted:
            raise NotOurs(
                step,
                f"belongs to {_account(facts.st_uid)}, who could put another thing in "
                f"the place of what is kept below it. {_ELSEWHERE}",
            )
        sticky = facts.st_mode & stat.S_ISVTX
        if not last and stat.S_ISDIR(facts.st_mode) and not sticky:
            _check_closed(step, facts)
    return here


def read_own(path: AnyPath, *, private: bool = True) -> bytes:
    """Return what is in a small file of ours that nobody else can have written.

    Args:
        path: a regular file with one name, of our account, no link.
        private: nobody else can read it either.

    Raises:
        NotOurs: it is not such a file; says what to do.
        OSError: it cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
            raise NotOurs(path, f"is no regular file. {_remove(path)}") from None
        raise
    try:
        _check_file(path, os.fstat(handle), private=private)
        return os.read(handle, _MOST_BYTES)
    finally:
        os.close(handle)


def _check_file(path: AnyPath, facts: os.stat_result, *, private: bool) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise NotOurs(path, f"is no regular file. {_remove(path)}")
    _check_owner(path, facts, {os.geteuid()})
    if facts.st_nlink != 1:
        raise NotOurs(path, f"has a second name elsewhere. {_remove(path)}")
    mode = stat.S_IMODE(facts.st_mode)
    if mode & (0o077 if private else 0o022):
        raise NotOurs(
            path,
            f"is open to others (mode {mode:04o}). If nobody used that: chmod "
            f"{'600' if private else '644'} {os.fspath(path)}. Otherwise remove "
            "it: a new one is made.",
        )


_ELSEWHERE = "Keep the state elsewhere: set LANDBRIDGE_STATE or hub.state."


def _steps(path: str) -> Iterator[Tuple[str, os.stat_result, bool]]:
    """Yield each part of an absolute path that is there, links and their targets too.

    The last value tells whether it is the whole path's end.
    """
    left: List[str] = [part for part in path.split("/") if part]
    here, links = "/", 0
    yield here, os.lstat(here), not left
    while left:
        part = left.pop(0)
        if part in (".", ".."):
            here = os.path.dirname(here) if part == ".." else here
            continue
        step = os.path.join(here, part)
        try:
            facts = os.lstat(step)
        except FileNotFoundError:
            return
        yield step, facts, not left
        if not stat.S_ISLNK(facts.st_mode):
            here = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(step)
        if target.startswith("/"):
            here = "/"
        left = [part for part in target.split("/") if part] + left


def _check_owner(path: AnyPath, facts: os.stat_result, owners: Iterable[int]) -> None:
    if facts.st_uid not in owners:
        raise NotOurs(
            path,
            f"belongs to {_account(facts.st_uid)} and not to "
            f"{_account(os.geteuid())}, so what it holds is not believed. "
            f"{_remove(path)} Or, if you made it yourself: "
            f"chown -R {_account(os.geteuid())} {os.fspath(path)}",
        )


def _check_closed(step: str, facts: os.stat_result) -> None:
    mode = stat.S_IMODE(facts.st_mode)
    if mode & stat.S_IWOTH:
        raise NotOurs(
            step,
            f"can be changed by everybody (mode {mode:04o}), so what is kept below it "
            f"can be replaced. Run: chmod o-w {step} -- or: {_ELSEWHERE}",
        )
    if mode & stat.S_IWGRP and not _group_is_ours(facts.st_gid):
        raise NotOurs(
            step,
            f"can be changed by the group {_group(facts.st_gid)} (mode {mode:04o}), so "
            f"what is kept below it can be replaced. Run: chmod g-w {step} -- or: "
            f"{_ELSEWHERE}",
        )


def _group_is_ours(number: int) -> bool:
    """Tell whether a group has no members but us: many accounts have one like that."""
    if number == 0:
        return True
    try:
        account = pwd.getpwuid(os.geteuid())
        members = grp.getgrgid(number).gr_mem
    except KeyError:
        return False
    return number == account.pw_gid and not set(members) - {account.pw_name, "root"}


def _remove(path: AnyPath) -> str:
    return f"Look at it, then move it away: mv {os.fspath(path)} {os.fspath(path)}.old."


def _account(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"the uid {number}"


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
