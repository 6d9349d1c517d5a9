"""The pages of the storage service that are for people, not programs."""

from __future__ import annotations

from time import monotonic

from services.common.web.errors import Forbidden, NotThere
from services.common.web.pages import PageHandler, ServicePage

from ..access.rights import require_owner
from ..s3.values import Mode
from ..service import Storage
from ..settings import NAME, PAGE
from .downloads import attachment, reachable

# How long an answer goes on before it is asked whose it is; together with the time that
# the hub's word is kept, less than the half minute in which a right ends.
_LOOK_SECONDS = 5.0


class StartPage(ServicePage):
    """The page at the service's own address."""

    bundle = NAME
    title = PAGE

    def connect(self) -> str:
        """Return the store's origin, where browsers go to it themselves."""
        settings = self.serving.context.settings
        return settings.endpoint if settings.route == "direct" else ""


class LinkPage(PageHandler):
    """A public link: looks whether it still holds, and leads to the object."""

    shown_path = "link/..."

    async def get(self, secret: str) -> None:
        """Send the browser to a URL that is good for seconds."""
        storage: Storage = self.serving.context
        link = await storage.shares.link_of(secret)
        groups = await storage.people.groups_of(link.by) if link else None
        if link is None or groups is None or not storage.settings.public_links:
            await self.recognise()
            raise NotThere("This link does not work, or not any more.")
        # Whoever made it must still own what it shows.
        right = require_owner(
            await storage.rights(link.by, sorted(groups)), link.bucket
        )
        await (await storage.client_for(link.by)).head(link.bucket, link.key)
        lifetime = storage.settings.link_lifetime
        presigner = await storage.presigner(
            link.by, right, self.origin, object_key=link.key, lifetime=lifetime
        )
        signed = presigner.get(
            link.bucket, link.key, lifetime, disposition=attachment(link.key)
        )
        await storage.shares.count_use(link.id)
        self.set_header("Referrer-Policy", "no-referrer")
        self.redirect(signed.url, status=303)


class ContentPage(PageHandler):
    """Objects whose names no browser can put into a path, such as ``a/../b``."""

    async def get(self) -> None:
        """Answer the object, to be saved."""
        caller = await self.signed_in()
        if caller is None:
            return
        storage: Storage = self.serving.context
        bucket, key = self.raw_argument("bucket"), self.raw_argument("key")
        version = self.raw_argument("version") or None
        await storage.require(caller, bucket, key, Mode.READ)
        if reachable(key):
            raise NotThere("Download this object by a URL of urls/download.")
        client = await storage.client_for(caller.name)
        head = await client.head(bucket, key, version=version)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", attachment(key))
        self.set_header("Content-Length", str(head.size))
        look_at = monotonic() + _LOOK_SECONDS
        async with client.stream(bucket, key, version=version) as pieces:
            async for piece in pieces:
                if monotonic() > look_at:
                    if not await self._may_still(bucket, key):
                        self.hang_up()
                        return
                    look_at = monotonic() + _LOOK_SECONDS
                self.write(piece)
                await self.flush()
        self.finish()

    async def _may_still(self, bucket: str, key: str) -> bool:
        """Whether the reader is still signed in and may read this still."""
        storage: Storage = self.serving.context
        try:
            caller = await self.caller_now()
            if caller is not None:
                await storage.require(caller, bucket, key, Mode.READ)
        except (Forbidden, NotThere):
            return False
        return caller is not None
