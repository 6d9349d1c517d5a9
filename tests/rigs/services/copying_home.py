"""A home directory whose notebook server copies to buckets and from them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from landbridge_lab.copies.copies import Copies
from landbridge_lab.copies.work import Copy
from landbridge_lab.gateway.storage import StorageService


class Home:
    """Alice's home directory, and the copies of her notebook server."""

    def __init__(self, place: Path, service: StorageService) -> None:
        self.path = place / "home"
        self.path.mkdir()
        self.journal = place / "journal"
        self.service = service
        self.copies = self.again()

    def again(self, **more: Any) -> Copies:
        """The copies of a server that was started once more."""
        self.copies = Copies(self.service, self.path, self.journal, **more)
        return self.copies

    async def copy(
        self,
        kind: str,
        names: list[str],
        target: str,
        bucket: str = "alice",
        **more: Any,
    ) -> Copy:
        """Make a copy and wait until it is over."""
        wish = {"kind": kind, "bucket": bucket, "names": names, "target": target}
        return await self.over(self.copies.begin(**wish, **more))

    async def over(self, copy: Copy) -> Copy:
        async with asyncio.timeout(60):
            await asyncio.gather(*self.copies._tasks.values(), return_exceptions=True)
        return copy

    def files(self) -> list[str]:
        """Every file, by its path."""
        found = (path for path in self.path.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.path)) for path in found)
