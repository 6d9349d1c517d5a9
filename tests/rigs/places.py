"""Directories that other users can enter."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that every account can enter, removed in the end."""
    # Not below tmp_path, which is 0700; and short, for the sockets in it.
    path = Path(tempfile.mkdtemp(prefix="lbtest-", dir="/var/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)
