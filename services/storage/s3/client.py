"""A thin S3 client: what the gateway asks a store, and nothing more.

::

    client = S3Client(StoreAddress("http://127.0.0.1:8333"), AccessKey("…", "…"))
    page = await client.list("bucket", "prefix/", delimiter="/")
    head = await client.head("bucket", "prefix/key")
    body = await client.get("bucket", "prefix/key", start=0, length=1024)
    await client.put("bucket", "key", b"…", if_none_match=True)
    failures = await client.delete_many("bucket", ["a", "b"])
    await client.copy("bucket", "a", "bucket", "b")
    client.buckets   …: create, delete, list, policy, CORS, versions (buckets.py)
    client.uploads   …: create, part, copy_part, parts, complete, abort, list
    as_alice = client.signed_by(session.key)     same connections, other signature

Keys are byte-faithful (see :mod:`~services.storage.s3.values`). Every method raises
:class:`~services.storage.s3.errors.StorageError`. Nothing here decides who may do what.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from xml.sax.saxutils import escape

from .answers import parse_deleted, parse_tags, plain_etag
from .buckets import Buckets
from .copies import copy_object
from .errors import AccessDenied, StoreAnswerInvalid
from .headers import CHECKSUM, METADATA, crc32, head_in, md5, total_in, version_query
from .listing import LARGEST_PAGE, list_query, parse_page
from .transport import S3Request, StoreAddress, Transport
from .uploads import LARGEST_SINGLE, Uploads
from .values import AccessKey, Dialect, KeyFailure, ListPage, ObjectBody, ObjectHead

_PLAIN = Dialect()

LARGEST_READ = 64 * 2**20
"""Bytes that one :meth:`S3Client.get` returns at most; more is streamed."""

# What XML 1.0 cannot say, and what its readers change (a bare CR).
_NOT_IN_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


class S3Client:
    """One store, in the name of one key.

    Args:
        address: the store.
        key: who signs; ``None`` for an anonymous client.
        dialect: the store's own ways, as the probe found them.
    """

    def __init__(
        self,
        address: StoreAddress,
        key: AccessKey | None,
        *,
        dialect: Dialect = _PLAIN,
        transport: Transport | None = None,
    ) -> None:
        self.transport = transport or Transport(address, key)
        self.dialect = dialect
        self.buckets = Buckets(self.transport, dialect)
        self.uploads = Uploads(self.transport, dialect)

    def signed_by(self, key: AccessKey | None) -> S3Client:
        """Return a client for another key over the same connections."""
        transport = self.transport.signed_by(key)
        return S3Client(
            transport.address, key, dialect=self.dialect, transport=transport
        )

    def once(self, answer: timedelta) -> S3Client:
        """Return a client that tries once and waits this long for an answer."""
        transport = self.transport.once(answer)
        return S3Client(
            transport.address, transport.key, dialect=self.dialect, transport=transport
        )

    def with_dialect(self, dialect: Dialect) -> S3Client:
        """Return this client in another dialect."""
        transport = self.transport
        return S3Client(
            transport.address, transport.key, dialect=dialect, transport=transport
        )

    async def close(self) -> None:
        """Close the connections that this client opened."""
        await self.transport.close()

    async def list(
        self,
        bucket: str,
        prefix: str = "",
        *,
        delimiter: str = "",
        token: str | None = None,
        start_after: str = "",
        limit: int = LARGEST_PAGE,
    ) -> ListPage:
        """Return one page of keys.

        Args:
            bucket: the bucket.
            prefix: only keys that begin with it.
            delimiter: ``"/"`` gathers what lies deeper into ``prefixes``.
            token: of the page before.
            start_after: only keys after this one: a jump of constant cost.
            limit: keys and prefixes in the page, 1 to 1,000.
        """
        query = list_query(
            prefix,
            delimiter=delimiter,
            token=token,
            start_after=start_after,
            limit=limit,
        )
        what = f"list bucket {bucket}"
        answer = await self.transport.ask(
            S3Request("GET", bucket, query=query, what=what)
        )
        return parse_page(answer.body, plus_is_blank=self.dialect.plus_is_blank)

    async def pages(
        self, bucket: str, prefix: str = "", *, delimiter: str = ""
    ) -> AsyncIterator[ListPage]:
        """Yield page after page; only one is in memory."""
        token: str | None = None
        while True:
            page = await self.list(bucket, prefix, delimiter=delimiter, token=token)
            yield page
            if page.token is None:
                return
            if page.token == token:
                raise StoreAnswerInvalid(f"The store lists {bucket} in circles.")
            token = page.token

    async def head(
        self, bucket: str, key: str, *, version: str | None = None
    ) -> ObjectHead:
        """Return the facts of an object."""
        call = S3Request(
            "HEAD",
            bucket,
            key,
            query=version_query(version),
            headers={"x-amz-checksum-mode": "ENABLED"},
            what=f"look at {bucket}/{key}",
        )
        answer = await self.transport.ask(call)
        return head_in(key, answer.headers)

    async def get(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        length: int = LARGEST_READ,
        version: str | None = None,
        if_match: str | None = None,
    ) -> ObjectBody:
        """Return up to ``length`` bytes from ``start``; fewer at the end."""
        if start < 0 or not 0 < length <= LARGEST_READ:
            raise ValueError(f"cannot read {length} bytes from {start}")
        call = self._reading(bucket, key, start, length, version, if_match)
        answer = await self.transport.ask(call)
        total = len(answer.body)
        if answer.status == 416:
            total, data = total_in(answer.headers, start), b""
        elif answer.status == 206:
            total, data = total_in(answer.headers, start), answer.body
        else:
            data = answer.body[start : start + length]
        return ObjectBody(
            data,
            start,
            total,
            plain_etag(answer.headers.get("etag", "")),
            answer.headers.get("content-type", ""),
        )

    @asynccontextmanager
    async def stream(
        self, bucket: str, key: str, *, version: str | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open an object to be read in pieces of the network's size."""
        query = version_query(version)
        call = S3Request("GET", bucket, key, query=query, what=f"read {bucket}/{key}")
        async with self.transport.stream(call) as (_, response):
            yield response.aiter_raw()

    @staticmethod
    def _reading(
        bucket: str,
        key: str,
        start: int,
        length: int,
        version: str | None,
        if_match: str | None,
    ) -> S3Request:
        headers = {"range": f"bytes={start}-{start + length - 1}"}
        if if_match is not None:
            headers["if-match"] = f'"{if_match}"'
        return S3Request(
            "GET",
            bucket,
            key,
            query=version_query(version),
            headers=headers,
            what=f"read {bucket}/{key}",
            # 416: it is empty, or ends before ``start``.
            accept=frozenset({200, 206, 416}),
            limit=max(length, 65_536) if start else LARGEST_READ,
        )

    async def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        if_match: str | None = None,
        if_none_match: bool = False,
    ) -> str:
        """Store ``data`` whole and return its ETag.

        Args:
            bucket: the bucket.
            key: the object.
            data: small: it is in memory. Larger objects go by :attr:`uploads`.
            content_type: of the object.
            metadata: the user's own; names and values in ASCII.
            if_match: only over the object with this ETag.
            if_none_match: only if there is none.
        """
        headers = {
            "content-type": content_type,
            "content-md5": md5(data),
            f"{CHECKSUM}crc32": crc32(data),
            **{f"{METADATA}{name}": value for name, value in (metadata or {}).items()},
        }
        if if_match is not None:
            bare = self.dialect.bare_if_match
            headers["if-match"] = if_match if bare else f'"{if_match}"'
        if if_none_match:
            headers["if-none-match"] = "*"
        call = S3Request(
            "PUT",
            bucket,
            key,
            headers=headers,
            body=data,
            what=f"write {bucket}/{key}",
            # Sent twice, the second would find the first in its way.
            repeatable=if_match is None and not if_none_match,
        )
        answer = await self.transport.ask(call)
        return plain_etag(answer.headers.get("etag", ""))

    async def delete(
        self,
        bucket: str,
        key: str,
        *,
        version: str | None = None,
        if_match: str | None = None,
    ) -> None:
        """Delete an object; one that is not there is deleted already.

        ``if_match`` is obeyed only where the probe saw it; RGW 16.2 ignores it.
        """
        headers = {} if if_match is None else {"if-match": f'"{if_match}"'}
        call = S3Request(
            "DELETE",
            bucket,
            key,
            query=version_query(version),
            headers=headers,
            what=f"delete {bucket}/{key}",
        )
        await self.transport.ask(call)

    async def delete_many(
        self, bucket: str, keys: Sequence[str]
    ) -> tuple[KeyFailure, ...]:
        """Delete up to 1,000 objects in one request and return what was refused.

        Keys that XML cannot hold are deleted one by one.
        """
        if len(keys) > LARGEST_PAGE:
            raise ValueError(f"at most {LARGEST_PAGE} keys at once, not {len(keys)}")
        single = self.dialect.single_deletes
        plain = [key for key in keys if not single and not _NOT_IN_XML.search(key)]
        failures = await self._delete_singly(bucket, set(keys) - set(plain))
        if plain:
            body = _delete_document(plain)
            call = S3Request(
                "POST",
                bucket,
                query={"delete": ""},
                headers={"content-type": "application/xml", "content-md5": md5(body)},
                body=body,
                what=f"delete {len(plain)} objects of {bucket}",
            )
            answer = await self.transport.ask(call)
            failures += parse_deleted(answer.body)
        return failures

    async def _delete_singly(
        self, bucket: str, keys: Iterable[str]
    ) -> tuple[KeyFailure, ...]:
        failures: tuple[KeyFailure, ...] = ()
        for key in keys:
            try:
                await self.delete(bucket, key)
            except AccessDenied as error:
                failures += (KeyFailure(key, "AccessDenied", str(error)),)
        return failures

    async def copy(
        self,
        source_bucket: str,
        source: str,
        bucket: str,
        key: str,
        *,
        version: str | None = None,
        single: int = LARGEST_SINGLE,
        known: ObjectHead | None = None,
    ) -> str:
        """Copy an object inside the store, of any size, and return its ETag.

        Over ``single`` bytes it is copied in parts; it then appears whole at the
        end, or not at all. An object that changes meanwhile is not mixed:
        :class:`~services.storage.s3.errors.PreconditionFailed`. ``known`` is the
        source's head, where it was read just now.
        """
        head = known or await self.head(source_bucket, source, version=version)
        return await copy_object(
            self, source_bucket, head, bucket, key, version=version, single=single
        )

    async def tags(
        self, bucket: str, key: str, *, version: str | None = None
    ) -> dict[str, str]:
        """Return an object's tags."""
        query = {"tagging": "", **version_query(version)}
        call = S3Request(
            "GET", bucket, key, query=query, what=f"tags of {bucket}/{key}"
        )
        answer = await self.transport.ask(call)
        # RGW 16.2 says nothing of some objects that have none.
        return parse_tags(answer.body) if answer.body else {}

    async def set_tags(self, bucket: str, key: str, tags: Mapping[str, str]) -> None:
        """Give an object these tags and no others (at most 10)."""
        items = "".join(
            f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>"
            for name, value in tags.items()
        )
        body = f"<Tagging><TagSet>{items}</TagSet></Tagging>".encode()
        call = S3Request(
            "PUT",
            bucket,
            key,
            query={"tagging": ""},
            headers={"content-type": "application/xml", "content-md5": md5(body)},
            body=body,
            what=f"set tags of {bucket}/{key}",
        )
        await self.transport.ask(call)


def _delete_document(keys: Iterable[str]) -> bytes:
    items = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f"<Delete><Quiet>true</Quiet>{items}</Delete>".encode()
