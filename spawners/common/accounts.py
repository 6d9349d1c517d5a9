"""Which accounts of this machine belong to persons: the one rule for all who ask.

Sign-in, launcher and schedulers ask it, so that nobody gets into the hub whose job
the launcher refuses, or the other way round. A name is matched before a C library,
PAM or a log sees it. Standard library only; asking may wait for a directory.

``landbridge-launch`` is one file that is copied to login nodes, and so carries
:func:`account_fault` and :func:`shadow_of` itself: a test holds the two texts together.

Run as a program (``python -I -S accounts.py``) it answers one question a line, for the
hub, which a directory that hangs or crashes its client must not take along::

    [["ada", "bob"], 1000]
    -> {"ada": ["", ["ada", "hpc"]], "bob": ["'bob' is locked.", []]}

Names of which the directory cannot tell just now are left out of the answer.
"""

from __future__ import annotations

import ctypes
import grp
import json
import os
import pwd
import re
import sys
import time
from collections.abc import Iterable

# What a Linux account may be called; no capital letters, as the hub folds case.
ACCOUNT = r"[a-z_][a-z0-9_.-]{0,31}"
LOWEST_UID = 1000
_SHADOW = "/etc/shadow"
_NAME = re.compile(ACCOUNT)
_NOBODY = (65534, 65535, 2**32 - 1)
_NO_LOGIN = {"nologin", "false", "sync", "halt", "shutdown"}


class NoPerson(ValueError):
    """The name belongs to no account of a person; the text says why."""


def is_account_name(value: object) -> bool:
    """Tell whether ``value`` is text that can be an account's name."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def brief(value: object, limit: int = 32) -> str:
    """Return the beginning of what somebody sent, escaped, for a log or an error."""
    text = value if isinstance(value, str) else type(value).__name__
    return ascii(text[:limit]) + ("…" if len(text) > limit else "")


def find_person(
    name: str, lowest_uid: int = LOWEST_UID, shadow: list[str] | None = None
) -> pwd.struct_passwd:
    """Return the account ``name``, if it is a person's and may be used today.

    Args:
        name: whose.
        lowest_uid: accounts below are the system's.
        shadow: the fields of its line in ``/etc/shadow``, if they are known.

    Raises:
        NoPerson: it cannot be a name, is unknown, the system's, without a login
            shell, locked or expired.
    """
    if not is_account_name(name):
        raise NoPerson(f"{brief(name)} is no account's name.")
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise NoPerson(f"There is no account {name!r} on this machine.") from None
    if entry.pw_name != name:  # a directory that folds case, or knows other names
        raise NoPerson(f"{name!r} is another name of {brief(entry.pw_name)}.")
    today = int(time.time() // 86_400)
    shadow = shadow_of(name) if shadow is None else shadow
    if fault := account_fault(entry, lowest_uid, shadow, today):
        raise NoPerson(f"{name!r} {fault}.")
    return entry


def account_fault(
    entry: pwd.struct_passwd, lowest_uid: int, shadow: list[str], today: int
) -> str:
    """Return why no person may use the account, or ``""``.

    Args:
        entry: the account.
        lowest_uid: accounts below are the system's.
        shadow: the fields of its line in ``/etc/shadow``; none if it has none.
        today: days since 1970.
    """
    system = entry.pw_uid < max(1, lowest_uid) or entry.pw_gid == 0
    if system or entry.pw_uid in _NOBODY:
        return "is not the account of a person"
    if entry.pw_shell.rpartition("/")[2] in _NO_LOGIN:
        return "is not the account of a person: it has no login shell"
    if len(shadow) < 8:
        return ""
    # "!" before a password locks it. Alone it says that there is none, as of accounts
    # that are used by key or through an identity provider.
    if shadow[1].startswith("!") and shadow[1].strip("!*"):
        return "is locked"
    days = [int(x) if x.isascii() and x.isdigit() else -1 for x in shadow]
    if 0 <= days[7] <= today:
        return "has expired"
    changed, most, grace = days[2], days[4], days[6]
    set_once = changed > 0 and min(most, grace) >= 0
    if set_once and today > changed + most + grace:
        return "has expired with its password"
    return ""


def shadow_of(name: str) -> list[str]:
    """Return the fields of the account's line in ``/etc/shadow``.

    ``[]`` where we may not read it, or the account is a directory's: then the hub's
    PAM or the directory itself has to tell.
    """
    try:
        with os.fdopen(os.open(_SHADOW, os.O_RDONLY), errors="replace") as file:
            found = [line for line in file if line.startswith(name + ":")]
    except OSError:
        return []
    return found[0].rstrip("\n").split(":") if found else []


def groups_of(entry: pwd.struct_passwd) -> list[str]:
    """Return the names of the account's groups, in order."""
    names = []
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue  # a group without a name limits nothing
    return sorted(names)


def look_at(names: Iterable[str], lowest_uid: int) -> dict[str, tuple[str, list[str]]]:
    """Return for each name why no person may use it (``""``: one may), and its groups.

    Names are left out of which the directory cannot tell: an account is gone only if
    all of it was asked.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    shadows = _all_shadows()
    for name in names:
        try:
            entry = find_person(name, lowest_uid, shadows.get(name, []))
        except NoPerson as error:
            if not is_account_name(name) or not _is_unreachable(name):
                found[name] = (str(error), [])
        else:
            found[name] = ("", groups_of(entry))
    return found


def _all_shadows() -> dict[str, list[str]]:
    try:
        with os.fdopen(os.open(_SHADOW, os.O_RDONLY), errors="replace") as file:
            lines = [line.rstrip("\n").split(":") for line in file]
    except OSError:
        return {}
    return {fields[0]: fields for fields in reversed(lines)}


def _is_unreachable(name: str) -> bool:
    """Tell whether looking for the account fails, which ``pwd`` takes for "is not"."""
    libc = ctypes.CDLL(None)
    entry, text = ctypes.create_string_buffer(512), ctypes.create_string_buffer(1 << 20)
    result = ctypes.c_void_p()
    code = libc.getpwnam_r(
        name.encode(), entry, text, ctypes.c_size_t(len(text)), ctypes.byref(result)
    )
    return bool(code)


def main() -> None:
    """Answer the questions on standard input until it ends."""
    for line in sys.stdin:
        names, lowest_uid = json.loads(line)
        sys.stdout.write(json.dumps(look_at(names, lowest_uid)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
