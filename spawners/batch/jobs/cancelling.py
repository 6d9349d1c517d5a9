"""Cancel wishes: kept, repeated with back-off, until an end was read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from spawners.common.backoff import pause
from spawners.common.errors import GatewayError

from ..scheduler import Scheduler
from .ledger import Ledger, Line
from .record import JobRecord, Phase, utc_now
from .settings import WatchSettings

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Wish:
    due: float = 0.0
    tries: int = 0
    alarmed: bool = False


class Cancelling:
    """Asks for the end of every job whose record holds a cancel wish."""

    def __init__(
        self,
        scheduler: Scheduler,
        ledger: Ledger,
        settings: WatchSettings,
        nudge: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._settings = settings
        self._nudge = nudge
        self._wishes: dict[str, _Wish] = {}
        self._asking: set[str] = set()
        self._wake = asyncio.Event()

    @property
    def overdue(self) -> int:
        """How many wishes are older than the alarm's age."""
        return sum(wish.alarmed for wish in self._wishes.values())

    def wake(self) -> None:
        """Look at the records again now."""
        self._wake.set()

    async def want(self, name: str) -> None:
        """Write the wish down and ask once; ended jobs need nothing.

        Raises:
            UnknownJob: there is no such record.
            DatabaseUnavailable: the wish could not be written down, nothing was done.
        """
        record = await self._ledger.recall(name)
        if not record.live and not record.needs_polling:
            return
        if record.cancel_wanted is None:
            log.info("Stopping job %s of %s", name, record.user)
            record = await self._ledger.commit(
                name,
                Line("cancelling", "Stopping the job"),
                cancel_wanted=utc_now(),
            )
        # Without an identity there is nothing to ask for yet: whoever submits or
        # looks for the job finds the wish.
        await self._ask(record)
        self.wake()

    async def run(self) -> None:
        """Repeat what is due, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            records = {
                record.name: record
                for record in self._ledger.records()
                if record.needs_polling and record.cancel_wanted is not None
            }
            self._wishes = {name: self._wishes.get(name, _Wish()) for name in records}
            now = loop.time()
            due = [records[n] for n, wish in self._wishes.items() if wish.due <= now]
            for start in range(0, len(due), 4):
                # A few at a time: each is a command, run as its user.
                await asyncio.gather(*map(self._ask, due[start : start + 4]))
            for record in due:
                await self._alarm(record)
            dues = [wish.due for wish in self._wishes.values()]
            await pause(min(dues, default=now + 3600) - loop.time(), self._wake)

    async def _ask(self, record: JobRecord) -> None:
        if (
            record.job is None
            or not record.needs_polling
            or record.name in self._asking
        ):
            return
        wish = self._wishes.setdefault(record.name, _Wish())
        delays = self._settings.cancel_delays
        delay = delays[min(wish.tries, len(delays) - 1)].total_seconds()
        wish.due = asyncio.get_running_loop().time() + delay
        wish.tries += 1
        self._asking.add(record.name)
        try:
            await self._scheduler.cancel(record.job)
        except GatewayError as error:
            log.warning("Cannot cancel job %s: %s", record.name, error)
        except Exception:
            log.exception("Cannot cancel job %s", record.name)
        finally:
            self._asking.discard(record.name)
        self._nudge()

    async def _alarm(self, record: JobRecord) -> None:
        wish = self._wishes.get(record.name)
        if wish is None or wish.alarmed or record.cancel_wanted is None:
            return
        age = utc_now() - record.cancel_wanted
        if age < self._settings.cancel_alarm:
            return
        wish.alarmed = True
        log.error(
            "Job %s of %s should have ended %s ago and has not", *_facts(record), age
        )
        await self._ledger.observe(
            record.name,
            Line(
                "warning",
                "The scheduler has not confirmed the end of the job yet;"
                " it is asked again and again",
                {"seconds": int(age.total_seconds())},
            ),
        )


def _facts(record: JobRecord) -> tuple[str, str]:
    job = record.job.id if record.job and record.phase is not Phase.INTENT else "?"
    return f"{record.name} ({job})", record.user
