"""URLs that let their bearer do one thing, signed for one caller."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from services.common.web.routes import Call, Model

from ..access.rights import Right
from ..s3.signing import PresignedUrl, Presigner
from ..service import Storage

_NOT_FOR_SCRIPTS = frozenset({"content-length", "host"})


class Url(Model):
    """A URL that lets its bearer do one thing until it expires."""

    method: str
    """HTTP's."""
    url: str
    """Where to send it."""
    headers: dict[str, str] = Field(description="Must be sent exactly like this.")
    expires: datetime
    """When it is good no more."""


def url_of(storage: Storage, signed: PresignedUrl) -> Url:
    """What the caller gets of a signed URL."""
    headers = dict(signed.headers)
    return Url(
        method=signed.method,
        url=signed.url,
        # A browser sets these itself, and lets no script do so.
        headers={k: v for k, v in headers.items() if k not in _NOT_FOR_SCRIPTS},
        expires=storage.expires_in(storage.settings.url_lifetime),
    )


async def presigner_for(
    storage: Storage, call: Call, right: Right, object_key: str, *, writes: bool = True
) -> Presigner:
    """Return what signs URLs for the one object."""
    return await storage.presigner(
        call.caller.name, right, call.origin, object_key=object_key, writes=writes
    )
