"""A user's own S3 client beside the browser: puts objects there and looks at them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx

from rigs.hub.process import HubProcess, until
from rigs.stores.filling import CONTENT, clear, fill
from services.storage.s3.client import S3Client
from services.storage.s3.signing import Presigner
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import AccessKey
from services.storage.site.cors import open_to

T = TypeVar("T")
API = "services/storage/api/v1"


class Stored:
    """What is in the bucket that has its user's name."""

    def __init__(self, hub: HubProcess, user: str) -> None:
        self.bucket = user
        token = hub.call("POST", f"users/{user}/tokens", {"note": "test"})["token"]
        self.rest = httpx.Client(
            base_url=f"http://127.0.0.1:{hub.port}/{API}/",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=60,
        )
        told = until("the store gives keys", self._keys)
        self._key = AccessKey(
            told["access_key"], told["secret_key"], told["session_token"]
        )
        self._endpoint = told["endpoint"]
        self._gateway = f"http://127.0.0.1:{hub.port}"

    def _keys(self) -> Any:
        answer = self.rest.post("credentials", json={})
        return answer.json() if answer.status_code == 201 else None

    def close(self) -> None:
        self.rest.close()

    def put(self, objects: Mapping[str, bytes]) -> None:
        """Store small objects, whatever their names."""

        async def work(client: S3Client) -> None:
            for key, data in objects.items():
                await client.put(self.bucket, key, data)

        self._run(work)

    def keys(self, prefix: str = "") -> list[str]:
        async def work(client: S3Client) -> list[str]:
            found = []
            async for page in client.pages(self.bucket, prefix):
                found += [one.key for one in page.objects]
            return found

        return self._run(work)

    def sha256(self, key: str) -> str:
        """The checksum of an object, read from the store."""

        async def work(client: S3Client) -> str:
            digest = hashlib.sha256()
            async with client.stream(self.bucket, key) as pieces:
                async for piece in pieces:
                    digest.update(piece)
            return digest.hexdigest()

        return self._run(work)

    def opened(self, key: str, content_type: str) -> str:
        """A URL by which a browser shows an object as a page of this type, if it may.

        The gateway signs none like it; whoever has keys of a bucket can.
        """
        signer = Presigner(self._key, "us-east-1", self._gateway, "/s3")
        return signer.get(
            self.bucket,
            key,
            timedelta(minutes=10),
            disposition="inline",
            content_type=content_type,
        ).url

    def delete(self, key: str) -> None:
        async def work(client: S3Client) -> None:
            await client.delete(self.bucket, key)

        self._run(work)

    def empty(self) -> None:
        """Delete all that is there, and give up every upload."""

        async def work(client: S3Client) -> None:
            async for page in client.pages(self.bucket):
                keys = [one.key for one in page.objects]
                if keys:
                    await client.delete_many(self.bucket, keys)

        self._run(work)
        for upload in self.unfinished():
            wish = {"key": upload["key"], "upload_id": upload["upload_id"]}
            self.rest.post("uploads/abort", json={"bucket": self.bucket, **wish})

    def unfinished(self) -> list[dict[str, Any]]:
        """Uploads that were begun and not ended."""
        return self.rest.get("uploads", params={"bucket": self.bucket}).json()[
            "uploads"
        ]

    def fill(self, state: Path, folder: str, names: Iterable[str]) -> None:
        """Put a small object under each name in a folder, past any upload."""
        self.put({f"{folder}/{CONTENT.decode()}": CONTENT})
        fill(state / "store", self.bucket, folder, names)
        self.delete(f"{folder}/{CONTENT.decode()}")

    def clear(self, state: Path, folder: str) -> None:
        """Remove what :meth:`fill` put there."""
        clear(state / "store", self.bucket, folder)

    def _run(self, work: Any) -> Any:
        async def main() -> Any:
            client = S3Client(StoreAddress(self._endpoint), self._key)
            try:
                return await work(client)
            finally:
                await client.close()

        return _in_a_thread(main())


def store_of(state: Path) -> tuple[str, AccessKey]:
    """Where the embedded store of a gateway is, and the key that may do all there."""
    (identity,) = json.loads((state / "store/s3.json").read_text())["identities"]
    (one,) = identity["credentials"]
    port = json.loads((state / "store/ports.json").read_text())["s3"]
    key = AccessKey(one["accessKey"], one["secretKey"])
    return f"http://127.0.0.1:{port}", key


def open_bucket(state: Path, bucket: str, origin: str) -> None:
    """Let pages of ``origin`` reach a bucket by themselves, as its owner would."""

    async def work(client: S3Client) -> None:
        assert await open_to(client.buckets, bucket, origin, ours=True)

    as_store(state, work)


def as_store(state: Path, work: Callable[[S3Client], Awaitable[T]]) -> T:
    """Have something done by the key that may do all in the embedded store."""

    async def main() -> T:
        endpoint, key = store_of(state)
        client = S3Client(StoreAddress(endpoint), key)
        try:
            return await work(client)
        finally:
            await client.close()

    found: T = _in_a_thread(main())
    return found


def _in_a_thread(work: Coroutine[Any, Any, Any]) -> Any:
    # The caller's thread may be running a loop already.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextmanager
def standing_still(hub: HubProcess) -> Iterator[None]:
    """The store takes requests and answers none."""
    pid = json.loads((hub.state / "store" / "process.json").read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
