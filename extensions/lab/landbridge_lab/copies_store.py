"""Objects of one bucket, as copies read and write them: by obstore, in pieces.

Lists come from the storage service: it has every name byte for byte, where a client's
own listing ends at the first odd one. Keys are the user's own, for this bucket only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal  # JSON, and obstore's own objects

from .credentials import KeyCache
from .storage_service import ServiceFailed, StorageService

PIECE = 8 * 2**20
_UPLOADS_AT_ONCE = 3
_REGION = "us-east-1"


class ObjectRefused(Exception):
    """An object cannot be read or written; the text says why, without its name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object: its key, its size in bytes, and when it was written."""

    key: str
    size: int
    modified: float
    etag: str


def object_store(service: StorageService, bucket: str) -> Any:
    """Return obstore's store for a bucket of the user's.

    Raises:
        ServiceFailed: obstore is not installed, or S3 cannot be reached.
    """
    try:
        from obstore.store import S3Store
    except ImportError:
        raise ServiceFailed(
            "This notebook server's environment has no `obstore`, which copies need.",
            status=501,
            final=True,
        ) from None
    place = service.place()
    cache = KeyCache(lambda: service.issue())

    async def provide() -> Any:
        keys = await asyncio.to_thread(cache.get)
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token or None,
            "expires_at": keys.expires,
        }

    return S3Store(
        bucket,
        endpoint=place.endpoint,
        region=place.region or _REGION,
        virtual_hosted_style_request=False,
        client_options={"allow_http": place.endpoint.startswith("http:")},
        credential_provider=provide,
    )


class Bucket:
    """A bucket of the user's."""

    def __init__(self, service: StorageService, name: str, store: Any) -> None:
        self.name = name
        self._service = service
        self._store = store

    @classmethod
    async def open(cls, service: StorageService, name: str) -> Bucket:
        """Return it, ready for use.

        Raises:
            ServiceFailed: the storage service or the library is not there.
        """
        store = await asyncio.to_thread(object_store, service, name)
        return cls(service, name, store)

    async def pages(self, prefix: str, after: str) -> AsyncIterator[list[Entry]]:
        """Yield what lies under a prefix from a key on, in the store's order.

        Raises:
            ServiceFailed: it cannot be listed.
        """
        while True:
            page = await asyncio.to_thread(
                self._service.objects, self.name, prefix, after
            )
            entries = [_entry(found) for found in page["objects"]]
            if entries:
                yield entries
                after = entries[-1].key
            if not page.get("token") or not entries:
                return

    async def measure(self, keys: list[str], prefixes: list[str]) -> tuple[int, int]:
        """Return how many objects these are, and their bytes."""
        found = await asyncio.to_thread(self._service.count, self.name, keys, prefixes)
        return int(found["objects"]), int(found["bytes"])

    async def head(self, key: str) -> Entry | None:
        """Return an object's facts; ``None`` if there is none."""
        try:
            found = await asyncio.to_thread(self._service.head, self.name, key)
        except ServiceFailed as error:
            if error.status == 404:
                return None
            raise
        return _entry(found)

    async def read(self, entry: Entry) -> AsyncIterator[bytes]:
        """Yield an object's bytes in pieces.

        Raises:
            ObjectRefused: it is gone or was changed, or the store sent less.
        """
        import obstore

        try:
            answer = await obstore.get_async(self._store, entry.key)
            if int(answer.meta["size"]) != entry.size:
                raise ObjectRefused("it was changed meanwhile")
            async for piece in answer.stream(min_chunk_size=PIECE):
                yield bytes(piece)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _refused(error) from error

    async def write(
        self, key: str, pieces: AsyncIterator[bytes], size: int, *, overwrite: bool
    ) -> None:
        """Write an object of so many bytes: it is there as a whole or not at all.

        Raises:
            ObjectRefused: there is another of this name, or the store refuses it.
            Exception: whatever ``pieces`` raises; nothing is left then.
        """
        import obstore

        is_large = size > PIECE
        if is_large and not overwrite and await self.head(key) is not None:
            raise ObjectRefused("there is an object of this name already")
        try:
            if is_large:
                await obstore.put_async(
                    self._store,
                    key,
                    pieces,
                    use_multipart=True,
                    chunk_size=PIECE,
                    max_concurrency=_UPLOADS_AT_ONCE,
                )
            else:
                data = b"".join([piece async for piece in pieces])
                mode: Literal["overwrite", "create"]
                mode = "overwrite" if overwrite else "create"
                await obstore.put_async(
                    self._store, key, data, use_multipart=False, mode=mode
                )
        except obstore.exceptions.AlreadyExistsError:
            raise ObjectRefused("there is an object of this name already") from None
        except obstore.exceptions.BaseError as error:
            raise _refused(error) from error


def _entry(found: Mapping[str, Any]) -> Entry:
    modified = found.get("modified")
    stamp = datetime.fromisoformat(modified).timestamp() if modified else 0.0
    return Entry(
        str(found["key"]), int(found["size"]), stamp, str(found.get("etag") or "")
    )


def _refused(error: Exception) -> ObjectRefused:
    kind = type(error).__name__
    known = {
        "NotFoundError": "it is gone",
        "PermissionDeniedError": "you may not",
        "UnauthenticatedError": "you may not",
        "PreconditionError": "it was changed meanwhile",
    }
    # The library's own text names hosts and requests over many lines.
    return ObjectRefused(known.get(kind, f"the store refused it ({kind})"))
