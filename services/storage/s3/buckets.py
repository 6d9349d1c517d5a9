"""What is asked of buckets: list, make, delete, versions, CORS and policy.

Stores were seen to accept settings and do nothing, so :meth:`Buckets.set_policy`
and :meth:`Buckets.set_cors` read back what they wrote.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from .answers import parse_buckets, parse_cors, parse_xml, text_of
from .errors import NotFound, StoreAnswerInvalid
from .headers import md5
from .listing import LARGEST_PAGE, parse_versions
from .transport import S3Request, Transport
from .values import Bucket, CorsRule, Dialect, VersionPage

PolicyDocument = dict[str, Any]
"""A policy as JSON: its shape is the store's, and foreign parts stay as they are."""


class Buckets:
    """The buckets that a transport's key may see; part of ``S3Client``."""

    def __init__(self, transport: Transport, dialect: Dialect) -> None:
        self._transport = transport
        self._plus_is_blank = dialect.plus_is_blank

    async def list(self) -> tuple[Bucket, ...]:
        """Return the buckets that the store shows to this key."""
        answer = await self._transport.ask(S3Request("GET", what="list the buckets"))
        return parse_buckets(answer.body)

    async def exists(self, bucket: str) -> bool:
        """Whether there is such a bucket.

        Raises:
            AccessDenied: there is, or there is not: this key may not know.
        """
        try:
            await self._transport.ask(
                S3Request("HEAD", bucket, what=f"look at {bucket}")
            )
        except NotFound:
            return False
        return True

    async def create(self, bucket: str) -> None:
        """Make a bucket.

        Raises:
            Conflict: the name is taken.
        """
        await self._transport.ask(
            S3Request("PUT", bucket, what=f"create bucket {bucket}")
        )

    async def delete(self, bucket: str) -> None:
        """Delete an empty bucket.

        Raises:
            Conflict: it is not empty.
        """
        call = S3Request("DELETE", bucket, what=f"delete bucket {bucket}")
        await self._transport.ask(call)

    async def versions(
        self,
        bucket: str,
        prefix: str = "",
        *,
        delimiter: str = "",
        key_marker: str | None = None,
        version_marker: str | None = None,
        limit: int = LARGEST_PAGE,
    ) -> VersionPage:
        """Return one page of the versions of the keys that begin with ``prefix``."""
        query = {"versions": "", "encoding-type": "url", "max-keys": str(limit)}
        optional = {
            "prefix": prefix,
            "delimiter": delimiter,
            "key-marker": key_marker,
            "version-id-marker": version_marker,
        }
        query.update({name: value for name, value in optional.items() if value})
        call = S3Request("GET", bucket, query=query, what=f"list versions in {bucket}")
        answer = await self._transport.ask(call)
        return parse_versions(answer.body, plus_is_blank=self._plus_is_blank)

    async def versioned(self, bucket: str) -> bool:
        """Whether overwritten and deleted objects are kept as versions."""
        return await self.versioning(bucket) == "Enabled"

    async def versioning(self, bucket: str) -> str:
        """Return ``Enabled``, ``Suspended``, or ``""`` if there never were versions."""
        call = S3Request(
            "GET", bucket, query={"versioning": ""}, what=f"versioning of {bucket}"
        )
        answer = await self._transport.ask(call)
        root = parse_xml(answer.body, "VersioningConfiguration")
        return text_of(root, "Status") or ""

    async def set_versioned(self, bucket: str, *, versioned: bool) -> None:
        """Keep versions from now on, or no longer."""
        status = "Enabled" if versioned else "Suspended"
        body = (
            f"<VersioningConfiguration><Status>{status}</Status>"
            "</VersioningConfiguration>"
        ).encode()
        await self._set(bucket, "versioning", body, "application/xml")

    async def cors(self, bucket: str) -> tuple[CorsRule, ...]:
        """Return the bucket's CORS rules; none if it has none."""
        call = S3Request(
            "GET", bucket, query={"cors": ""}, what=f"CORS rules of {bucket}"
        )
        try:
            answer = await self._transport.ask(call)
        except NotFound as error:
            if error.code == "NoSuchBucket":
                raise
            return ()
        return parse_cors(answer.body)

    async def set_cors(self, bucket: str, rules: Sequence[CorsRule]) -> None:
        """Give the bucket these CORS rules and read them back."""
        items = "".join(_cors_rule(rule) for rule in rules)
        body = f"<CORSConfiguration>{items}</CORSConfiguration>".encode()
        await self._set(bucket, "cors", body, "application/xml")
        kept = await self.cors(bucket)
        if [_rule_facts(rule) for rule in kept] != [_rule_facts(r) for r in rules]:
            raise StoreAnswerInvalid(
                f"The store took CORS rules for {bucket} and kept others.",
                hint="This store cannot be used by browsers directly.",
            )

    async def policy(self, bucket: str) -> PolicyDocument | None:
        """Return the bucket's policy, or ``None`` if it has none."""
        call = S3Request(
            "GET", bucket, query={"policy": ""}, what=f"policy of {bucket}"
        )
        try:
            answer = await self._transport.ask(call)
        except NotFound as error:
            if error.code == "NoSuchBucket":
                raise
            return None
        if not answer.body.strip():
            return None
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise StoreAnswerInvalid(f"The policy of {bucket} is no JSON object.")
        return document

    async def set_policy(self, bucket: str, document: PolicyDocument | None) -> None:
        """Give the bucket a policy, or none. The caller reads it back."""
        if document is None:
            call = S3Request(
                "DELETE", bucket, query={"policy": ""}, what=f"drop policy of {bucket}"
            )
            await self._transport.ask(call)
            return
        body = json.dumps(document, separators=(",", ":")).encode()
        await self._set(bucket, "policy", body, "application/json")

    async def _set(self, bucket: str, what: str, body: bytes, kind: str) -> None:
        headers = {"content-type": kind, "content-md5": md5(body)}
        call = S3Request(
            "PUT",
            bucket,
            query={what: ""},
            headers=headers,
            body=body,
            what=f"set {what} of {bucket}",
        )
        await self._transport.ask(call)


def _cors_rule(rule: CorsRule) -> str:
    fields = [("AllowedOrigin", text) for text in rule.origins]
    fields += [("AllowedMethod", text) for text in rule.methods]
    fields += [("AllowedHeader", text) for text in rule.headers]
    fields += [("ExposeHeader", text) for text in rule.expose]
    fields.append(("MaxAgeSeconds", str(rule.max_age)))
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fields)
    return f"<CORSRule>{inner}</CORSRule>"


def _rule_facts(rule: CorsRule) -> tuple[frozenset[str], ...]:
    # Some stores sort, and some lower the case of header names.
    return (
        frozenset(rule.origins),
        frozenset(rule.methods),
        frozenset(name.lower() for name in rule.headers),
        frozenset(name.lower() for name in rule.expose),
    )
