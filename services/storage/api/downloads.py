"""Downloads over REST, and keys as browsers and file systems see them."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, urlencode

from pydantic import Field

from services.common.web.routes import Call

from ..s3.values import Mode
from ..service import Storage
from .objects import ObjectQuery
from .urls import Url, presigner_for, url_of

_LONGEST_NAME = 150
_WALKS = re.compile(r"(^|[/\\])\.\.?([/\\;]|$)")


def reachable(key: str) -> bool:
    """Whether a browser's URL can name ``key``.

    Browsers take ``.`` and ``..`` segments out of a path, however they are encoded,
    and the edge refuses paths that walk up.
    """
    return _WALKS.search(key) is None


def file_name(key: str) -> str:
    """Return the last part of ``key`` as a harmless name for a download.

    Without control characters, marks that turn the direction of text, slashes of
    any kind, or dots at the start.
    """
    last = next((part for part in reversed(re.split(r"[/\\]", key)) if part), "")
    kept = "".join(
        char for char in last if not unicodedata.category(char).startswith("C")
    )
    cleaned = re.sub(r'[<>:"|?*;]', "_", kept).strip().lstrip(".")
    return cleaned[:_LONGEST_NAME] or "object"


def attachment(key: str) -> str:
    """Return a ``Content-Disposition`` (RFC 6266) that saves and never shows."""
    name = file_name(key)
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class DownloadUrl(ObjectQuery):
    """An object to be downloaded."""

    inline: bool = Field(
        default=False,
        description="For fetch() by a page of the gateway: no attachment.",
    )


async def sign_download(storage: Storage, call: Call, body: DownloadUrl) -> Url:
    """A URL that downloads one object."""
    right = await storage.require(call.caller, body.bucket, body.key, Mode.READ)
    lifetime = storage.settings.url_lifetime
    if not reachable(body.key):
        where = {"bucket": body.bucket, "key": body.key, "version": body.version}
        query = urlencode(where, errors="surrogateescape")
        return Url(
            method="GET",
            url=storage.page(f"content?{query}", call.origin),
            headers={},
            expires=storage.expires_in(lifetime),
        )
    presigner = await presigner_for(storage, call, right, body.key, writes=False)
    signed = presigner.get(
        body.bucket,
        body.key,
        lifetime,
        version=body.version or None,
        disposition="" if body.inline else attachment(body.key),
    )
    return url_of(storage, signed)
