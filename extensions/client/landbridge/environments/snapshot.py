"""A snapshot: a lock with hashes, and a folder with the wheels that it names."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .installed import Package, find_packages
from .problems import CannotTake
from .restore import ABOUT, LOCK, WHEELS
from .wheels import pack


@dataclass(frozen=True)
class Snapshot:
    """An environment as files.

    Attributes:
        folder: where they are: the lock, the wheels, and what they were packed for.
        lock: one ``name==version --hash=sha256:...`` a line, as pip and uv read it.
        digest: SHA-256 of the lock and of what it is for; equal environments are equal.
        python: version of the interpreter, as ``3.12.4``.
        platform: as ``linux-x86_64`` and the C library's version.
        wheels: file names with their bytes.
    """

    folder: Path
    lock: str
    digest: str
    python: str
    platform: str
    wheels: dict[str, int]

    @property
    def size(self) -> int:
        """Bytes of all wheels."""
        return sum(self.wheels.values())


def take(
    folder: str | Path,
    *,
    leave_out: Iterable[str] = (),
    paths: Iterable[str] | None = None,
) -> Snapshot:
    """Pack all that is installed for this interpreter.

    Args:
        folder: where to; it must not exist yet, and appears whole or not at all.
        leave_out: names of packages that the other side has, or does not need.
        paths: folders to look in; by default all that are imported from.

    Raises:
        CannotTake: something cannot be packed. Every such package is named at once.
    """
    target = Path(folder).expanduser()
    if target.exists():
        raise CannotTake(f"{target} is there already.")
    kept_out = {name.lower().replace("_", "-") for name in leave_out}
    packages = [one for one in find_packages(paths) if one.name not in kept_out]
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        (draft / WHEELS).mkdir()
        _write(draft, _pack_all(packages, draft / WHEELS))
        draft.chmod(0o755)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return read(target)


def _pack_all(packages: Iterable[Package], folder: Path) -> list[str]:
    """Lines of the lock, one for each package."""
    lines, problems = [], []
    for package in packages:
        try:
            wheel = pack(package, folder)
        except CannotTake as error:
            problems.append(str(error))
            continue
        with wheel.open("rb") as stream:
            digest = hashlib.sha256()
            while part := stream.read(1 << 20):
                digest.update(part)
        lines.append(
            f"{package.name}=={package.version} --hash=sha256:{digest.hexdigest()}"
        )
    if problems:
        raise CannotTake("\n".join(problems))
    return lines


def _write(folder: Path, lines: list[str]) -> None:
    (folder / LOCK).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    about = {
        "version": 1,
        "python": platform.python_version(),
        "implementation": sys.implementation.cache_tag,
        "platform": f"{sysconfig.get_platform()} {'-'.join(platform.libc_ver())}",
    }
    (folder / ABOUT).write_text(json.dumps(about) + "\n", encoding="utf-8")


def read(folder: str | Path) -> Snapshot:
    """The snapshot in ``folder``.

    Raises:
        CannotTake: there is none.
    """
    folder = Path(folder).expanduser()
    try:
        lock = (folder / LOCK).read_text(encoding="utf-8")
        text = (folder / ABOUT).read_text(encoding="utf-8")
        about = json.loads(text)
        wheels = {
            path.name: path.stat().st_size for path in (folder / WHEELS).iterdir()
        }
        digest = hashlib.sha256(text.encode() + lock.encode()).hexdigest()
        return Snapshot(
            folder, lock, digest, about["python"], about["platform"], wheels
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotTake(f"{folder} holds no snapshot: {error}") from error
