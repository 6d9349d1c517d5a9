"""Wheels from what is installed.

The same files give the same bytes, so that a wheel is known by its hash wherever it was
packed. Source: the binary distribution format (PEP 427 and its successors): names,
``WHEEL``, ``RECORD``, and the ``.data`` folder for what lies outside of site-packages.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import Distribution, PackagePath
from pathlib import Path, PurePosixPath

from .installed import Package
from .problems import CannotTake

_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold
_LEVEL = 1  # a wheel is read once and soon; time counts for more than size
# Of this installation, not of the package.
_LEFT_OUT = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
_SCRIPT_FOLDERS = {"bin", "Scripts"}


def pack(package: Package, folder: Path) -> Path:
    """A wheel of ``package`` in ``folder``.

    Raises:
        CannotTake: nobody recorded its files, one of them is missing, or the sources
            of an editable one do not build.
    """
    if package.editable is not None:
        return _build(package, package.editable, folder)
    distribution = package.distribution
    metadata = distribution.read_text("WHEEL")
    if metadata is None or not distribution.files:
        raise CannotTake(
            f"{package.name} {package.version} has no record of its files: it was not "
            "installed by pip or uv. Install it again: "
            f"%pip install --force-reinstall {package.name}=={package.version}"
        )
    # (as the binary distribution format spells both)
    stem = f"{package.name.replace('-', '_')}-{package.version.replace('-', '_')}"
    path = folder / f"{stem}-{_tags(metadata, package)}.whl"
    entries = dict(_entries(package, distribution, stem))
    record = f"{stem}.dist-info/RECORD"
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(entries, key=lambda name: (".dist-info/" in name, name)):
            content, mode = entries[name]
            _add(archive, name, content, mode)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
            hashed = f"sha256={digest.decode().rstrip('=')}"
            writer.writerow([name, hashed, len(content)])
        writer.writerow([record, "", ""])
        _add(archive, record, rows.getvalue().encode(), 0o644)
    return path


def _tags(metadata: str, package: Package) -> str:
    """``py3-none-any``: the tags of a wheel, the sets of each part put together."""
    tags = Parser().parsestr(metadata).get_all("Tag") or []
    parts = [tag.split("-") for tag in tags]
    if not parts or any(len(part) != 3 for part in parts):
        raise CannotTake(f"{package.name} does not say what it runs on (WHEEL).")
    return "-".join(
        ".".join(sorted({part[place] for part in parts})) for place in range(3)
    )


def _entries(
    package: Package, distribution: Distribution, stem: str
) -> Iterator[tuple[str, tuple[bytes, int]]]:
    generated = {entry.name for entry in distribution.entry_points}
    for record in distribution.files or ():
        if record.suffix == ".pyc" or record.name in _LEFT_OUT:
            continue
        name = _name_in_wheel(record, distribution, stem, generated)
        if name is None:
            continue
        path = Path(str(distribution.locate_file(record)))
        try:
            content, mode = path.read_bytes(), path.stat().st_mode & 0o777
        except OSError as error:
            raise CannotTake(
                f"{package.name} {package.version} is not whole: {path}: "
                f"{error.strerror}. Install it again: "
                f"%pip install --force-reinstall {package.name}=={package.version}"
            ) from error
        if ".data/scripts/" in name:
            content = re.sub(rb"\A#!.*python[^\n]*", b"#!python", content, count=1)
        yield name, (content, mode)


def _name_in_wheel(
    record: PackagePath, distribution: Distribution, stem: str, generated: set[str]
) -> str | None:
    """Where a recorded file goes; ``None`` for one that installing makes anew."""
    if record.parts[0].endswith(".dist-info"):
        return str(PurePosixPath(f"{stem}.dist-info", *record.parts[1:]))
    if ".." not in record.parts:
        return record.as_posix()
    path = Path(str(distribution.locate_file(record))).resolve()
    try:
        inside = path.relative_to(Path(sys.prefix).resolve())
    except ValueError:
        inside = Path(*[part for part in record.parts if part != ".."])
    if inside.parts[0] in _SCRIPT_FOLDERS:
        if inside.name in generated:
            return None
        return f"{stem}.data/scripts/{inside.name}"
    return f"{stem}.data/data/{inside.as_posix()}"


def _add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.external_attr = (0o100000 | (0o755 if mode & 0o111 else 0o644)) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content, compresslevel=_LEVEL)


def _build(package: Package, sources: Path, folder: Path) -> Path:
    """A wheel of the sources that an editable package runs from."""
    if not sources.is_dir():
        raise CannotTake(
            f"{package.name} runs from {sources}, which is not there any more."
        )
    before = set(folder.iterdir())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--wheel-dir", str(folder), str(sources)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    built = set(folder.glob("*.whl")) - before
    if result.returncode or len(built) != 1:
        words = result.stderr.strip().splitlines() or ["pip said nothing."]
        raise CannotTake(
            f"{package.name} is installed from {sources}, and pip cannot build a wheel "
            f"of it: {words[-1]}"
        )
    return built.pop()
