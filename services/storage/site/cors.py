"""CORS rules, for a store that browsers reach at its own host name."""

from __future__ import annotations

import logging
from datetime import timedelta
from ssl import SSLContext

import httpx

from ..s3.buckets import Buckets
from ..s3.errors import StorageError
from ..s3.signing import Presigner
from ..s3.values import CorsRule

log = logging.getLogger(__name__)

_METHODS = frozenset({"GET", "PUT", "HEAD", "POST"})
_SHOWN = (
    "ETag",
    "Content-Range",
    "Content-Length",
    "Accept-Ranges",
    "x-amz-version-id",
    "x-amz-checksum-crc32",
)


def rule_for(origin: str) -> CorsRule:
    """Return the rule that the pages at ``origin`` need."""
    return CorsRule(
        origins=(origin,),
        methods=tuple(sorted(_METHODS)),
        headers=("*",),
        expose=_SHOWN,
        max_age=600,
    )


def allows(rule: CorsRule, origin: str) -> bool:
    """Whether a rule gives pages at ``origin`` all that they need."""
    shown = {name.lower() for name in rule.expose}
    return (
        not {origin, "*"}.isdisjoint(rule.origins)
        and set(rule.methods) >= _METHODS
        and "*" in rule.headers
        and ("etag" in shown or "*" in shown)
    )


async def preflight_passes(
    presigner: Presigner, bucket: str, origin: str, verify: SSLContext
) -> bool:
    """Whether a page at ``origin`` may send a PUT that was signed with headers.

    Ceph RGW 16.2 takes the question for a forged request, where a session signed.

    Args:
        presigner: for the store's own address.
        bucket: has the rule of :func:`rule_for`.
        origin: of the gateway; a ``*`` in it stands for any name.
        verify: how the store's certificate is checked.
    """
    headers = {"content-length": "1", "content-type": "text/plain"}
    signed = presigner.put(bucket, "preflight", timedelta(minutes=1), headers=headers)
    sender = origin.replace("*", "preflight")
    ask = {
        "Origin": sender,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    async with httpx.AsyncClient(verify=verify, trust_env=False) as client:
        try:
            answer = await client.options(signed.url, headers=ask)
        except httpx.HTTPError:
            return False
    allowed = answer.headers.get("access-control-allow-origin")
    return answer.is_success and allowed in {origin, sender, "*"}


async def open_to(buckets: Buckets, bucket: str, origin: str, *, ours: bool) -> bool:
    """Return whether pages at ``origin`` may use a bucket, in ours see to it.

    Args:
        buckets: in the name of whoever may change the bucket.
        bucket: its name.
        origin: scheme and authority of the gateway.
        ours: whether the gateway made it; rules of others' buckets are not touched.
    """
    try:
        rules = await buckets.cors(bucket)
        if any(allows(rule, origin) for rule in rules):
            return True
        if ours:
            await buckets.set_cors(bucket, [*rules, rule_for(origin)])
            log.info("Bucket %s is open to pages at %s", bucket, origin)
            return True
        log.warning("Bucket %s has no CORS rule for pages at %s", bucket, origin)
    except StorageError as error:
        log.warning("Bucket %s may be closed to pages: %s", bucket, error)
    return False
