"""All keys of one requester: a kernel, or the notebook server with its terminals."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from ..gateway.storage import Grant, Keys, ServiceFailed, StorageService
from .cache import KeyCache

log = logging.getLogger(__name__)

_LOOK_PATIENCE_SECONDS = 2.0
_MOST_KINDS = 64
_MOST_GRANTS = 40  # that the service takes at once


class KeyRing:
    """Keys for all that the user may, and for parts of it, each kept while good.

    Args:
        service: returns where keys come from.
        purpose: what the user's list of keys calls the requester.
    """

    def __init__(self, service: Callable[[], StorageService], purpose: str) -> None:
        self._service = service
        self._purpose = purpose
        self._caches: dict[tuple[Grant, ...], KeyCache] = {}
        self._told: tuple[Grant, ...] = ()
        self._issued: dict[str, datetime] = {}
        self._ended = False
        self._lock = threading.Lock()

    @property
    def good(self) -> tuple[str, ...]:
        """The service's names of keys that were issued and have not expired."""
        now = datetime.now(UTC)
        with self._lock:
            return tuple(name for name, end in self._issued.items() if end > now)

    def get(self, wanted: Mapping[str, str]) -> Keys:
        """Return keys.

        Args:
            wanted: ``bucket``, ``prefix`` and ``mode`` of narrow keys; ``renew`` and
                ``use`` as the loopback address has them.

        Raises:
            ServiceFailed: there are none.
        """
        bucket, prefix = wanted.get("bucket", ""), wanted.get("prefix", "")
        mode = wanted.get("mode") or "read-write"
        grants = (Grant(bucket, prefix, mode),) if bucket else ()
        keys = self._cache(grants).get(renew="renew" in wanted)
        used = wanted.get("use", "")
        if any(grant.touches(used, prefix) for grant in keys.left_out):
            every = (*keys.grants, *keys.left_out)
            part = tuple(grant for grant in every if grant.touches(used, prefix))
            return self._cache(part[:_MOST_GRANTS]).get()
        return keys

    def end(self) -> None:
        """End all keys, now and at the store; what cannot be ended is logged."""
        with self._lock:
            self._ended = True
        for name in self.good:
            self._end(name)

    def _end(self, name: str) -> None:
        try:
            self._service().end(name)
        except ServiceFailed as error:
            log.info("Keys %s are good until they expire: %s", name, error)

    def _cache(self, grants: tuple[Grant, ...]) -> KeyCache:
        """Return the keys for ``grants``, or for all that the user may."""
        with self._lock:
            if grants not in self._caches:
                while len(self._caches) >= _MOST_KINDS:
                    del self._caches[next(iter(self._caches))]
                self._caches[grants] = KeyCache(
                    lambda: self._issue(grants),
                    are_current=lambda keys: self._are_current(keys, grants),
                )
            return self._caches[grants]

    def _are_current(self, keys: Keys, grants: tuple[Grant, ...]) -> bool:
        service = self._service().with_patience(_LOOK_PATIENCE_SECONDS)
        return service.are_current(keys, whole=not grants)

    def _issue(self, grants: tuple[Grant, ...]) -> Keys:
        keys = self._service().issue(grants, self._purpose)
        now = datetime.now(UTC)
        with self._lock:
            good = {name: end for name, end in self._issued.items() if end > now}
            self._issued = {**good, keys.id: keys.expires}
            ended = self._ended
        if ended:  # meanwhile, and by who did not see these
            self._end(keys.id)
            raise ServiceFailed("The kernel that asked for keys has ended.", status=404)
        if not grants and keys.left_out != self._told:
            self._told = keys.left_out
            if keys.left_out:
                names = ", ".join(
                    f"{grant.bucket}/{grant.prefix}" for grant in self._told
                )
                log.warning(
                    "Keys for all of storage leave out %s: programs are refused there "
                    "(403), except by landbridge.storage.store(BUCKET)",
                    names,
                )
        return keys
