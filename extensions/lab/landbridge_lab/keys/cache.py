"""Keys that are kept while they are good, and fetched anew in time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ..gateway.storage import Keys, ServiceFailed

log = logging.getLogger(__name__)

_ERROR_SECONDS = 3.0
_LOOK_SECONDS = 15.0


class KeyCache:
    """One set of keys, handed out until two thirds of its life have passed.

    Who asks while new ones are fetched waits for those. If they cannot be had, the
    old ones go on as long as they are good, and a failure is remembered for a moment.

    Args:
        fetch: asks the storage service.
        clock: seconds since 1970.
        are_current: asks it whether keys are still what their user should have; new
            ones are fetched if not. ``None``: they are until their end.
    """

    def __init__(
        self,
        fetch: Callable[[], Keys],
        clock: Callable[[], float] = time.time,
        are_current: Callable[[Keys], bool] | None = None,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._are_current = are_current
        self._looked_at = 0.0
        self._lock = threading.Lock()
        self._keys: Keys | None = None
        self._renew_at = 0.0
        self._failed_at = -_ERROR_SECONDS
        self._failure = ServiceFailed("")

    def get(self, *, renew: bool = False) -> Keys:
        """Return keys that are good for a while.

        Args:
            renew: look now whether they are still what their user should have.

        Raises:
            ServiceFailed: there are none.
        """
        with self._lock:
            now = self._clock()
            if self._keys is not None and now < self._renew_at:
                if renew or now - self._looked_at >= _LOOK_SECONDS:
                    self._look(self._keys, now)
                if now < self._renew_at:
                    return self._keys
            if now - self._failed_at >= _ERROR_SECONDS:
                try:
                    self._keys = self._fetch()
                except ServiceFailed as error:
                    log.warning("No new keys: %s", error)
                    self._failure, self._failed_at = error, now
                else:
                    life = self._keys.expires.timestamp() - now
                    self._renew_at, self._looked_at = now + life * 2 / 3, now
                    return self._keys
            if self._keys is not None and now < self._keys.expires.timestamp():
                return self._keys
            raise self._failure

    def _look(self, keys: Keys, now: float) -> None:
        """Have ``keys`` renewed if they were ended, or their user may more or less."""
        if self._are_current is None:
            return
        self._looked_at = now
        try:
            if not self._are_current(keys):
                self._renew_at = now
        except ServiceFailed as error:
            log.info("Whether the keys are still good is not known: %s", error)
