"""Tells the hub what the kernels of this server use.

Once in a while, and once more when the server ends. What the hub did not hear, it
hears the next time: a job is reported from its start to now, over and over.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any  # JSON

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from spawners.batch.models import BatchJob
from spawners.common.text import clean_line

from .kernel import LandbridgeServerKernelManager

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=2)
_ASK_SECONDS = 10.0
_MOST = 100
_NOT_ON_NODES = frozenset({"intent", "queued", "ended"})


class UsageReport:
    """The jobs of this server's kernels, and what they use.

    Args:
        environment: the server's, with the hub's address and its token.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        api = environment.get("JUPYTERHUB_API_URL", "")
        self._url = f"{api}/landbridge/usage" if api else ""
        self._token = environment.get("JUPYTERHUB_API_TOKEN", "")
        self._ca = environment.get("JUPYTERHUB_SSL_CLIENT_CA") or None
        self._jobs: dict[str, dict[str, Any]] = {}
        self._changed: set[str] = set()

    def note(self, kernels: Iterable[LandbridgeServerKernelManager]) -> bool:
        """Note what runs now; a job that does not any more has ended.

        Returns whether one came or went.
        """
        now, running, before = datetime.now(UTC), set(), set(self._jobs)
        for kernel in kernels:
            status = kernel.status
            if status is None or status.job is None or status.phase in _NOT_ON_NODES:
                continue
            job, resources = status.job, status.resources
            running.add(job.name)
            entry = self._jobs.setdefault(
                job.name, _new_entry(job, str(kernel.kernel_name), now)
            )
            started = status.reading.started
            entry.update(
                started=(started or datetime.fromisoformat(entry["started"]))
                .astimezone(UTC)
                .isoformat(),
                until=now.isoformat(),
                cpus=resources.cpus * resources.nodes,
                gpus=resources.gpus * resources.nodes,
                memory=(resources.memory or 0) * resources.nodes,
            )
            self._changed.add(job.name)
        turned = set(self._jobs) != before
        for name in set(self._jobs) - running:
            entry = self._jobs[name]
            if not entry["ended"]:
                turned = True
                entry.update(ended=True, until=now.isoformat())
                self._changed.add(name)
        return turned

    async def send(self) -> None:
        """Tell the hub what is new; without an answer it stays to be told."""
        if not self._url or not self._token:
            return
        names = sorted(self._changed)[:_MOST]
        if not names:
            return
        body = json.dumps({"jobs": [self._jobs[name] for name in names]})
        secure = self._url.startswith("https:")
        try:
            await AsyncHTTPClient().fetch(
                self._url,
                method="POST",
                body=body,
                headers={
                    "Authorization": f"token {self._token}",
                    "Content-Type": "application/json",
                },
                request_timeout=_ASK_SECONDS,
                ssl_options=ssl.create_default_context(cafile=self._ca)
                if secure
                else None,
            )
        except (HTTPClientError, OSError) as error:
            log.info("The hub did not hear what kernels use: %s", error)
            return
        self._changed -= set(names)
        for name in names:
            if self._jobs[name]["ended"]:
                del self._jobs[name]


def _new_entry(job: BatchJob, title: str, now: datetime) -> dict[str, Any]:
    shown = clean_line(title, 120).encode("ascii", "replace").decode()
    return {
        "name": job.name,
        "job_id": job.id,
        "title": shown,
        "started": now.isoformat(),
        "until": now.isoformat(),
        "ended": False,
    }
