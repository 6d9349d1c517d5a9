"""``/hub/api/landbridge/usage``: what jobs used.

``GET`` answers ``{"since", "totals": {"cpu_hours", "gpu_hours", "memory_gib_hours"},
"users": {NAME: totals}, "jobs": [...]}`` of the last 30 days (``?days=N``, at most
366) of whoever asks. Administrators add ``?user=NAME``, or ``?user=*`` for everybody.
``POST`` takes the report of a notebook server of the last release, a
:class:`~spawners.batch.jobs.usage.UsageReport`.

``GET`` needs the scope ``read:servers`` of the user, ``POST`` ``users:activity``, as
every notebook server has it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from tornado import web

from spawners.batch.errors import InvalidSpec, LimitReached
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.jobs.usage import UsageReport, hours_of
from spawners.batch.jobs.wire import read

from .own_scope import require_own

_MOST_BYTES = 100_000
_MOST_SHOWN = 500


class UsageHandler(APIHandler):  # type: ignore[misc]  # JupyterHub is untyped
    """``GET`` and ``POST usage``."""

    @property
    def jobs(self) -> RemoteJobs:
        """The jobs service, which writes it down."""
        jobs: RemoteJobs = self.settings["landbridge"].jobs
        return jobs

    async def get(self) -> None:
        """Answer with jobs and sums."""
        since = datetime.now(UTC) - timedelta(days=self._days())
        user = self._whom()
        used = await self.jobs.usage(user, since)
        names = sorted({job.user for job in used})
        self.finish(
            json.dumps(
                {
                    "since": since.isoformat(),
                    "totals": hours_of(used),
                    "users": {
                        name: hours_of(job for job in used if job.user == name)
                        for name in names
                    },
                    "jobs": [job.to_json() for job in used[:_MOST_SHOWN]],
                }
            )
        )

    def _days(self) -> int:
        text = self.get_argument("days", "30")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 366):
            raise web.HTTPError(400, "days: must be a whole number from 1 to 366.")
        return int(text)

    def _whom(self) -> str | None:
        wanted: Any = self.get_argument("user", None)
        may_all = self.current_user is not None and self.has_scope("admin:users")
        if wanted is not None and may_all:
            return None if wanted == "*" else str(wanted)
        asking = str(require_own(self, "read:servers").name)
        if wanted not in (None, asking):
            raise web.HTTPError(403, "Only administrators see what others used.")
        return asking

    async def post(self) -> None:
        """Take a server's report over."""
        user = str(require_own(self, "users:activity").name)
        if len(self.request.body) > _MOST_BYTES:
            raise web.HTTPError(413, "The report is too large.")
        try:
            report = read(UsageReport, self.request.body)
        except InvalidSpec as error:
            raise web.HTTPError(400, error.message) from None
        try:
            await self.jobs.report_usage(user, report)
        except LimitReached:
            raise web.HTTPError(429, "These are too many jobs.") from None
        except InvalidSpec as error:
            raise web.HTTPError(409, error.message) from None
        self.set_status(204)
        self.finish()
