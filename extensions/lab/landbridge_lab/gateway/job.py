"""Routes under ``landbridge/`` of the notebook server.

``GET job`` answers ``{"job_id", "node", "ends_at", "now"}``: the batch job that
this notebook server runs in. The hub knows it best (an operator may move the time
limit), so it is asked with the server's own token; between two answers, and while
the hub is away, the last one stands, and before the first the environment that the
job was started with.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
import time
from datetime import UTC, datetime
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPError

log = logging.getLogger(__name__)

# How long an answer of the hub is good for, in seconds.
_FRESH = 50.0


def _iso(value: object) -> str | None:
    """Return ``value`` if it is an ISO time, else None."""
    if not isinstance(value, str):
        return None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return None
    return value


def _word(value: object) -> str | None:
    """Return ``value`` if it looks like a job id or host name, else None."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:+-]{1,128}", value):
        return value
    return None


class JobFacts:
    """The server's own job: from the hub when it answers, else the last known."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._read_at = -_FRESH
        self._facts: dict[str, str | None] = {
            "job_id": _word(
                environment.get("SLURM_JOB_ID") or environment.get("LANDBRIDGE_JOB_ID")
            ),
            "node": _word(environment.get("SLURMD_NODENAME")),
            "ends_at": _iso(environment.get("LANDBRIDGE_JOB_ENDS")),
        }

    async def read(self) -> dict[str, str | None]:
        """Return ``job_id``, ``node`` and ``ends_at`` (ISO UTC), each maybe None."""
        if time.monotonic() - self._read_at >= _FRESH:
            self._read_at = time.monotonic()
            await self._ask_hub()
        return dict(self._facts)

    async def _ask_hub(self) -> None:
        api = self._environment.get("JUPYTERHUB_API_URL")
        token = self._environment.get("JUPYTERHUB_API_TOKEN")
        if not api or not token:
            return
        try:
            answer = await AsyncHTTPClient().fetch(
                f"{api}/landbridge/job",
                headers={"Authorization": f"token {token}"},
                request_timeout=10,
                ssl_options=self._ssl() if api.startswith("https:") else None,
            )
            facts = json.loads(answer.body)
        except (HTTPError, OSError, ValueError) as error:
            log.info("The hub did not tell this job's end: %s", error)
            return
        self._facts = {
            "job_id": _word(facts.get("job_id")) or self._facts["job_id"],
            "node": _word(facts.get("node")) or self._facts["node"],
            "ends_at": _iso(facts.get("ends_at")),
        }

    def _ssl(self) -> ssl.SSLContext:
        return ssl.create_default_context(
            cafile=self._environment.get("JUPYTERHUB_SSL_CLIENT_CA") or None
        )


class JobHandler(APIHandler):
    """``GET landbridge/job``."""

    def initialize(self, facts: JobFacts) -> None:
        """Keep the shared facts."""
        self.facts = facts

    @web.authenticated
    async def get(self) -> None:
        """Answer the job's facts and this server's clock."""
        facts = await self.facts.read()
        self.finish(json.dumps({**facts, "now": datetime.now(UTC).isoformat()}))


def routes(base_url: str, facts: JobFacts) -> list[tuple[str, type, dict[str, Any]]]:
    """Return the handlers to add below ``base_url``."""
    return [
        (url_path_join(base_url, "landbridge", "job"), JobHandler, {"facts": facts})
    ]
