"""``landbridge/jobs``: everything of the user's that runs as a job, in one list.

Each kind of job is a :class:`Source`. Other parts add theirs to the list that
:func:`routes` keeps in the server's settings under ``landbridge_jobs``.

``GET jobs`` answers ``{"jobs": [{"kind", "id", "title", "state", "message", "node",
"job_id", "time_left", "resources", "gpu_use", "can_end", "url"?}]}``, times in
seconds; ``POST jobs/KIND/ID/end`` ends one.
"""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from .gateway.job import JobFacts
from .kernel_parts import JobSource

Json = dict[str, Any]

_SOURCE_SECONDS = 15.0
_LAST_WORD_SECONDS = 0.5
SETTING = "landbridge_jobs"


class ServerJob:
    """The notebook server's own job.

    Args:
        server_app: ends with the job.
        facts: of the job.
    """

    kind = "server"

    def __init__(self, server_app: Any, facts: JobFacts) -> None:
        self._server = server_app
        self._facts = facts

    async def list(self) -> list[Json]:
        """Return the one entry; none where the server is no job."""
        facts = await self._facts.read()
        if facts["job_id"] is None and not os.environ.get("JUPYTERHUB_USER"):
            return []
        return [
            {
                "kind": self.kind,
                "id": "this",
                "title": os.environ.get("JUPYTERHUB_SERVER_NAME") or "Notebook server",
                "state": "running",
                "message": "",
                "node": facts["node"],
                "job_id": facts["job_id"],
                "time_left": _seconds_until(facts["ends_at"]),
                "resources": "",
                "gpu_use": None,
                "can_end": True,
            }
        ]

    async def end(self, job_id: str) -> bool:
        """Stop the server, and with it its job."""
        if job_id != "this":
            return False
        self._server.io_loop.call_later(_LAST_WORD_SECONDS, self._server.stop)
        return True


def _seconds_until(moment: str | None) -> int | None:
    if moment is None:
        return None
    end = datetime.fromisoformat(moment)
    if end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    return max(0, round((end - datetime.now(UTC)).total_seconds()))


class JobsHandler(APIHandler):
    """``GET jobs``. Asking is no activity: an open panel keeps no server alive."""

    auth_resource = "kernels"
    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the list; a source that fails is left out and logged."""
        sources: list[JobSource] = self.settings[SETTING]
        lists = await asyncio.gather(*(self._ask(source) for source in sources))
        jobs = [entry for entries in lists for entry in entries]
        self.finish(json.dumps({"jobs": jobs}))

    async def _ask(self, source: JobSource) -> list[Json]:
        try:
            async with asyncio.timeout(_SOURCE_SECONDS):
                return await source.list()
        except Exception:
            self.log.exception("The %s jobs cannot be listed", source.kind)
            return []


class EndHandler(APIHandler):
    """``POST jobs/KIND/ID/end``."""

    auth_resource = "kernels"

    @web.authenticated
    @authorized
    async def post(self, kind: str, job_id: str) -> None:
        """End the job and answer nothing."""
        for source in self.settings[SETTING]:
            if source.kind == kind and await source.end(job_id):
                self.set_status(204)
                self.finish()
                return
        self.set_status(404)
        error = {"code": "no_job", "message": "There is no such job."}
        self.finish(json.dumps({"error": error}))


def routes(
    base_url: str, sources: list[JobSource], settings: dict[str, Any]
) -> list[tuple[str, type[APIHandler]]]:
    """Return the handlers to add below ``base_url``, and keep the sources."""
    settings[SETTING] = sources
    return [
        (url_path_join(base_url, "landbridge", "jobs"), JobsHandler),
        (
            url_path_join(
                base_url, "landbridge", "jobs", r"([a-z]{1,20})/([\w.:-]{1,128})/end"
            ),
            EndHandler,
        ),
    ]
