"""What is written down of copies, and which server of the user's does which.

All her servers share one directory. Of each copy it has ``ID.json``, as it stands, and
``ID.lock``, which the server that copies holds a lock on: the kernel lets go of it when
that server ends, however it ends. ``ID.cancel`` asks that server to stop.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path

from .work import Copy

log = logging.getLogger(__name__)

OVER = ("done", "failed", "cancelled")


class Journal:
    """The directory.

    Args:
        directory: is made when something is written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, int] = {}

    def write(self, copy: Copy) -> None:
        """Write a copy down as it stands."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = self._directory / f"{copy.id}.part"
            part.write_text(json.dumps(asdict(copy)), "utf-8")
            part.replace(self._file(copy.id, "json"))
        except OSError as error:
            # The copy itself may still work, and says so if the disk is full.
            log.warning("Copy %s is not written down: %s", copy.id, error)

    def read(self, known: Collection[str]) -> Iterator[Copy]:
        """Yield the copies that are written down, but those that are ``known``.

        One that is not over and that no server is at is ``interrupted``.
        """
        try:
            paths = list(self._directory.glob("*.json"))
        except OSError as error:
            log.warning("The journal %s cannot be read: %s", self._directory, error)
            return
        for path in paths:
            if path.stem in known:
                continue
            # Looked at first: a server writes the end down before it lets go.
            is_held = self.is_held(path.stem)
            try:
                copy = Copy(**json.loads(path.read_text("utf-8")))
            except (OSError, ValueError, TypeError, RecursionError) as error:
                log.warning("The journal %s cannot be read: %s", path, error)
                continue
            if copy.phase not in OVER and not is_held:
                copy.phase = "interrupted"
            yield copy

    def forget(self, copy_id: str) -> None:
        """Remove all that is written down of a copy that is over."""
        for kind in ("json", "lock", "cancel"):
            self._remove(copy_id, kind)

    # -- who is at it -------------------------------------------------------------

    def hold(self, copy_id: str) -> bool:
        """Say that this server does a copy; ``False`` if another one does."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._file(copy_id, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            log.warning("Copy %s cannot be locked: %s", copy_id, error)
            return True
        if not _lock(lock, fcntl.LOCK_EX):
            os.close(lock)
            return False
        self._held[copy_id] = lock
        self._remove(copy_id, "cancel")
        return True

    def release(self, copy_id: str) -> None:
        """Say that this server is not at it any more."""
        lock = self._held.pop(copy_id, None)
        if lock is not None:
            os.close(lock)
        self._remove(copy_id, "cancel")

    def is_held(self, copy_id: str) -> bool:
        """Whether a server is at a copy."""
        if copy_id in self._held:
            return True
        try:
            lock = os.open(self._file(copy_id, "lock"), os.O_RDWR)
        except OSError:
            return False
        try:
            return not _lock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    def ask_to_cancel(self, copy_id: str) -> None:
        """Ask the server that is at a copy to call it off."""
        try:
            self._file(copy_id, "cancel").touch(0o600)
        except OSError as error:
            log.warning("Copy %s cannot be called off: %s", copy_id, error)

    def is_unwanted(self, copy_id: str) -> bool:
        """Whether somebody asked for that."""
        with contextlib.suppress(OSError):
            return self._file(copy_id, "cancel").exists()
        return False

    def _remove(self, copy_id: str, kind: str) -> None:
        with contextlib.suppress(OSError):  # most are not there
            self._file(copy_id, kind).unlink()

    def _file(self, copy_id: str, kind: str) -> Path:
        return self._directory / f"{copy_id}.{kind}"


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some shared file systems have no locks: then servers are not told apart.
        log.info("The file system of the journal has no locks: %s", error)
    return True
