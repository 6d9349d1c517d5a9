"""Which keys are whose: each kernel has its own, and they end with it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from ..gateway.storage import ServiceFailed, StorageService
from .ring import KeyRing

log = logging.getLogger(__name__)

SERVER = "notebook"
"""What the keys of the server and of its terminals are for."""

_MOST_OF_KERNELS = 80
_A_WHILE = timedelta(hours=1)  # keys of a kernel live so long
_LONGEST_PURPOSE = 80


class KeyRings:
    """The keys of a notebook server and of each of its kernels.

    A store can have only so many sessions denied, and the service gives a user only so
    many keys: kernels that begin after 80 others within an hour share the server's.

    Args:
        service: returns where keys come from.
    """

    def __init__(self, service: Callable[[], StorageService]) -> None:
        self._service = service
        self._server = KeyRing(service, SERVER)
        self._kernels: dict[str, KeyRing] = {}
        self._begun: list[datetime] = []
        self._ending: list[threading.Thread] = []
        self._lock = threading.Lock()

    def begin(self, kernel: str, notebook: str) -> None:
        """Know a kernel from now on; one that is known keeps its keys.

        Args:
            kernel: its id.
            notebook: the path of its notebook, as the user's list of keys shows it.
        """
        with self._lock:
            if kernel in self._kernels:
                return
            now = datetime.now(UTC)
            self._begun = [at for at in self._begun if now - at < _A_WHILE]
            ring = self._server
            if len(self._begun) < _MOST_OF_KERNELS:
                self._begun.append(now)
                ring = KeyRing(self._service, purpose_of(kernel, notebook))
            self._kernels[kernel] = ring

    def of(self, kernel: str) -> KeyRing:
        """Return the keys of a kernel; of the server and its terminals for ``""``.

        Raises:
            ServiceFailed: the kernel is not there, or not any more.
        """
        with self._lock:
            ring = self._kernels.get(kernel) if kernel else self._server
        if ring is None:
            raise ServiceFailed(
                "The kernel that these keys were for has ended.",
                status=HTTPStatus.NOT_FOUND,
            )
        return ring

    def end(self, kernel: str) -> None:
        """End a kernel's keys. Returns at once: the store is told in the background."""
        with self._lock:
            ring = self._kernels.pop(kernel, None)
            if ring is None or ring is self._server:
                return
            thread = threading.Thread(target=ring.end, name="keys-end", daemon=True)
            alive = [ending for ending in self._ending if ending.is_alive()]
            self._ending = [*alive, thread]
            thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until the store was told of all that ended, at most so long."""
        until = time.monotonic() + seconds
        with self._lock:
            ending = tuple(self._ending)
        for thread in ending:
            thread.join(max(0.0, until - time.monotonic()))


def purpose_of(kernel: str, notebook: str) -> str:
    """Return what the keys of a kernel are for, in a line that the service takes."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in notebook)
    if not shown:
        return f"kernel {kernel[:8]}"
    room = _LONGEST_PURPOSE - len("kernel of ")
    return "kernel of " + (shown if len(shown) <= room else f"…{shown[1 - room :]}")
