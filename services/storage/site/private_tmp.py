"""A ``/tmp`` that one program has for itself, so that nobody is in its way there.

SeaweedFS makes sockets at paths in ``/tmp`` that no option changes, and any account may
have put something there. Run as a script, this file becomes a program that sees a
``/tmp`` of its own (mount_namespaces(7)), which ends with it. Root may do that; others
may where the kernel gives them user namespaces, which some sites and distributions
switch off.

The script runs with nothing but the standard library, and trusts its arguments.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_TMP = "/tmp"  # noqa: S108 -- the very one
_SIZE = "16m"  # of sockets; what is large goes to TMPDIR
_SECONDS = 60
# From linux/sched.h and linux/mount.h.
_NEW_MOUNTS, _NEW_USER = 0x0002_0000, 0x1000_0000
_NO_SUID, _NO_DEV, _NO_EXEC = 2, 4, 8
_BIND, _RECURSIVE, _SLAVE = 0x1000, 0x4000, 0x8_0000


def with_private_tmp(uid: int, gid: int, seen: Sequence[Path]) -> list[str]:
    """Return what to put before a command so that it has a ``/tmp`` of its own.

    The command starts as the account that we are; if that is root it may become
    another.

    Args:
        uid: of the account to which the ``/tmp`` belongs; nobody else may enter it.
        gid: its group.
        seen: directories that the command needs, should they lie below ``/tmp``.
    """
    script = str(Path(__file__).resolve())
    paths = [str(path) for path in seen]
    return [sys.executable, "-I", "-S", script, str(uid), str(gid), *paths, "--"]


def why_not(command: Sequence[str], directory: Path) -> str:
    """Run a command for a try; return why it failed, ``""`` if it did not. Blocks."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"status {done.returncode}"


def _enter(uid: int, gid: int, seen: Sequence[str]) -> None:
    """Have an empty ``/tmp`` from now on, but for what of ``seen`` lies in it."""
    own_uid, own_gid, here = os.geteuid(), os.getegid(), Path.cwd()
    if own_uid == 0:
        _call("unshare", _NEW_MOUNTS)
    else:
        _call("unshare", _NEW_USER | _NEW_MOUNTS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{own_uid} {own_uid} 1")
        Path("/proc/self/gid_map").write_text(f"{own_gid} {own_gid} 1")
    # What the machine mounts and unmounts later is followed; ours stays here.
    _mount("none", Path("/"), None, _RECURSIVE | _SLAVE)
    tmp = Path(_TMP).resolve()
    # Opened now: afterwards they have no path any more.
    kept = {path: os.open(path, os.O_PATH) for path in _below(tmp, seen)}
    options = f"mode=0700,size={_SIZE},uid={uid},gid={gid}"
    _mount("tmpfs", tmp, "tmpfs", _NO_SUID | _NO_DEV | _NO_EXEC, options)
    before = os.umask(0o022)
    for path, descriptor in kept.items():
        path.mkdir(0o755, parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{descriptor}", path, None, _BIND | _RECURSIVE)
        os.close(descriptor)
    os.umask(before)
    os.chdir(here)


def _below(tmp: Path, seen: Sequence[str]) -> list[Path]:
    """Return those in ``tmp``, by their names and by where these lead; outer first."""
    paths = [Path(path).absolute() for path in seen]
    names = {*paths, *(path.resolve() for path in paths)}
    return sorted(name for name in names if tmp in name.parents)


def _mount(
    source: str, target: Path, kind: str | None, flags: int, options: str = ""
) -> None:
    names = [os.fsencode(source), os.fsencode(target), kind and kind.encode()]
    _call("mount", *names, ctypes.c_ulong(flags), options.encode())


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _main(arguments: list[str]) -> None:
    split = arguments.index("--")
    uid, gid, *seen = arguments[:split]
    command = arguments[split + 1 :]
    try:
        _enter(int(uid), int(gid), seen)
        os.execv(command[0], command)  # noqa: S606 -- as this is for
    except OSError as error:
        sys.exit(f"no /tmp of its own: {error}")


if __name__ == "__main__":
    _main(sys.argv[1:])
