"""Objects of one bucket, as copies read and write them: by obstore, in pieces.

Lists come from the storage service: it has every name byte for byte, where a client's
own listing ends at the first odd one. Keys are to this bucket only, unless they are
those that the user brought.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, Literal  # JSON, and obstore's own objects
from urllib.parse import quote

from ..gateway.storage import Grant, Keys, ServiceFailed, StorageService
from ..keys.cache import KeyCache

PIECE = 8 * 2**20
_UPLOADS_AT_ONCE = 3
_MOST_STORES = 8
_PURPOSE = "copies"
_TAKEN = "there is an object of this name already"
_NO_OBJECT = "no object can have this name"
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


def place_of(key: str) -> tuple[str, str]:
    """Return where obstore finds a key: what to add to the bucket, and the rest.

    It drops a slash at a name's beginning and takes no two in a row, so what goes to
    the last of these is put into the address of the bucket, where it stays.

    Raises:
        ObjectRefused: no URL can have this name.
    """
    parts = key.split("/")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise ObjectRefused(_NO_OBJECT) from None
    if {".", ".."} & set(parts) or "\0" in key or not parts[-1]:
        raise ObjectRefused(_NO_OBJECT)
    empty = [place for place, part in enumerate(parts) if not part]
    cut = empty[-1] + 1 if empty else 0
    base = "".join(f"/{quote(part, safe='')}" for part in parts[:cut])
    return base, "/".join(parts[cut:])


def key_source(
    service: StorageService, bucket: str, starts: Sequence[str], mode: str
) -> KeyCache:
    """Return a source of keys to a bucket, and to no more of it than is needed.

    Args:
        service: gives them.
        bucket: its name.
        starts: what the keys of all objects begin with.
        mode: ``read`` or ``read-write``.
    """

    def needed() -> list[Grant]:
        mine, chosen = service.rights(bucket), set()
        for start in starts:
            covering = [grant.prefix for grant in mine if grant.covers(start, mode)]
            if not covering:
                # Which the service refuses, in better words than the store.
                return [Grant(bucket, start, mode)]
            chosen.add(Grant(bucket, min(covering, key=len), mode))
        return list(chosen)

    def fetch() -> Keys:
        keys = service.issue(needed(), _PURPOSE)
        if keys.left_out:
            raise ServiceFailed(
                "These names are of more shares than one set of keys has room for: "
                "copy fewer at once."
            )
        return keys

    return KeyCache(fetch)


def store_maker(
    service: StorageService, bucket: str, starts: Sequence[str], mode: str
) -> Callable[[str], Any]:
    """Return what makes obstore's store for a bucket and what is added to its name.

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
    # Keys that a user brought are lent whole or not at all.
    cache = (
        KeyCache(lambda: service.issue((), _PURPOSE))
        if place.own_keys
        else key_source(service, bucket, starts, mode)
    )
    cache.get()  # or say now, in the service's words, why there are none

    async def provide() -> Any:
        keys = await asyncio.to_thread(cache.get)
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token or None,
            "expires_at": keys.expires,
        }

    @lru_cache(_MOST_STORES)
    def make(base: str) -> Any:
        return S3Store(
            bucket + base,
            endpoint=place.endpoint,
            region=place.region or _REGION,
            virtual_hosted_style_request=False,
            client_options={"allow_http": place.endpoint.startswith("http:")},
            credential_provider=provide,
        )

    return make


class Bucket:
    """A bucket of the user's."""

    def __init__(
        self, service: StorageService, name: str, store_at: Callable[[str], Any]
    ) -> None:
        self.name = name
        self._service = service
        self._store_at = store_at

    @classmethod
    async def open(
        cls, service: StorageService, name: str, starts: Sequence[str], mode: str
    ) -> Bucket:
        """Return it, ready for use of what begins with one of ``starts``.

        Raises:
            ServiceFailed: the storage service or the library is not there, or it is
                not the user's to use so.
        """
        store_at = await asyncio.to_thread(store_maker, service, name, starts, mode)
        return cls(service, name, store_at)

    async def pages(self, prefix: str, after: str) -> AsyncIterator[list[Entry]]:
        """Yield what lies under a prefix from a key on, in the store's order.

        Raises:
            ServiceFailed: it cannot be listed.
        """
        while True:
            page = await asyncio.to_thread(
                self._service.objects, self.name, prefix, after
            )
            entries = [_entry(item) for item in page["objects"]]
            if entries:
                yield entries
                after = entries[-1].key
            if not page.get("token") or not entries:
                return

    async def measure(self, keys: list[str], prefixes: list[str]) -> tuple[int, int]:
        """Return how many objects these are, and their bytes."""
        counted = await asyncio.to_thread(
            self._service.count, self.name, keys, prefixes
        )
        return int(counted["objects"]), int(counted["bytes"])

    async def head(self, key: str) -> Entry | None:
        """Return an object's facts; ``None`` if there is none."""
        try:
            answer = await asyncio.to_thread(self._service.head, self.name, key)
        except ServiceFailed as error:
            if error.status == 404:
                return None
            raise
        return _entry(answer)

    async def read(self, entry: Entry) -> AsyncIterator[bytes]:
        """Yield an object's bytes in pieces.

        Raises:
            ObjectRefused: it is gone or was changed, or the store sent less.
        """
        import obstore

        base, rest = place_of(entry.key)
        # The library asks again, with this, where an answer was cut short.
        options: Any = {"if_match": f'"{entry.etag}"'} if entry.etag else None
        try:
            answer = await obstore.get_async(
                self._store_at(base), rest, options=options
            )
            etag = (answer.meta["e_tag"] or "").strip('"')
            is_same = not entry.etag or etag == entry.etag
            if answer.meta["size"] != entry.size or not is_same:
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

        base, rest = place_of(key)
        if base:
            await self._check_odd(key, size, overwrite=overwrite)
        store = self._store_at(base)
        is_large = size > PIECE
        if is_large and not overwrite:
            await self._must_be_free(key)
            pieces = self._free_to_the_end(key, pieces)
        try:
            if is_large:
                await obstore.put_async(
                    store,
                    rest,
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
                    store, rest, data, use_multipart=False, mode=mode
                )
        except obstore.exceptions.AlreadyExistsError:
            raise ObjectRefused(_TAKEN) from None
        except obstore.exceptions.BaseError as error:
            raise _refused(error) from error

    async def _must_be_free(self, key: str) -> None:
        if await self.head(key) is not None:
            raise ObjectRefused(_TAKEN)

    async def _free_to_the_end(
        self, key: str, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Yield the pieces; fail at their end if somebody took the name meanwhile.

        The library completes no upload in parts on a condition, so that what comes in
        the very moment after this look is replaced.
        """
        async for piece in pieces:
            yield piece
        await self._must_be_free(key)

    async def _check_odd(self, key: str, size: int, *, overwrite: bool) -> None:
        """Have the service say whether the store keeps such a name as it is."""
        check = partial(self._service.check_upload, overwrite=overwrite)
        try:
            await asyncio.to_thread(check, self.name, key, size)
        except ServiceFailed as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise ObjectRefused(str(error)) from None


def _entry(answer: Mapping[str, Any]) -> Entry:
    modified = answer.get("modified")
    stamp = datetime.fromisoformat(modified).timestamp() if modified else 0.0
    return Entry(
        str(answer["key"]), int(answer["size"]), stamp, str(answer.get("etag") or "")
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
