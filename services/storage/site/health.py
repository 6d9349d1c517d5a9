"""Whether the store still answers: asked by looks that cost little.

A look reads at most one name of a bucket that is ours, with the key that the service
acts by and without a second try. Its outcome holds for some seconds and for everybody
who asks meanwhile, so a monitor that asks often is no load on the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from ..s3.client import S3Client
from ..s3.errors import AccessDenied, NotFound, StorageError, StoreBusy

HELD_SECONDS = 5.0
"""How long the outcome of a look holds."""

_ANSWER = timedelta(seconds=4)


class StoreHealth:
    """The last look at a store, and the next one when that is old.

    Args:
        bucket: what is looked at.
        clock: gives seconds; for tests.
    """

    def __init__(
        self, bucket: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bucket = bucket
        self._clock = clock
        self._turn = asyncio.Lock()
        self._seen: tuple[S3Client, float, str] | None = None

    async def fault(self, client: S3Client) -> str:
        """Return why the store cannot be worked with, in one line; ``""`` if it can.

        Takes seconds at most, whatever the store does.
        """
        async with self._turn:
            seen, now = self._seen, self._clock()
            if seen and seen[0] is client and now - seen[1] < HELD_SECONDS:
                return seen[2]
            fault = await self._look(client)
            self._seen = (client, self._clock(), fault)
            return fault

    async def _look(self, client: S3Client) -> str:
        once = client.once(_ANSWER)
        try:
            async with asyncio.timeout(2 * _ANSWER.total_seconds()):
                await once.list(self._bucket, limit=1)
        except TimeoutError:
            return "The store answers too slowly."
        except (NotFound, StoreBusy):
            return ""  # an answer, if not what one hopes for
        except AccessDenied as error:
            # Nobody's requests may be denied; the service's own may not.
            return str(error) if client.transport.key is not None else ""
        except StorageError as error:
            return str(error)
        return ""
