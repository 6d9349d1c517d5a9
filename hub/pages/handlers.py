"""What the pages ask while they are open, under ``/hub/api/landbridge/``.

``GET spawn-page``: availability of each profile and the table of what is free, from
the snapshot (scope ``read:servers`` of the user). ``POST preview`` with a choice as
JSON: whether it may be started, and when it would (scope ``servers``); 429 for who asks
too often. ``GET job`` with a server's own token: the job it runs in. Static files of
the pages are under ``/hub/landbridge/static/``.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from tornado import web

from hub.api.own_scope import require_own
from spawners.batch.errors import InvalidSpec, SubmitRejected
from spawners.batch.models import JobSpec, Resources, new_job_name
from spawners.common.errors import GatewayError
from spawners.common.text import duration_in_words, iso
from spawners.profiles.availability import availability

from .fields import LABELS, SchedulerFacts
from .pace import Buckets, TooOften
from .spawn_form import cluster_table, limits_of, offered_profiles, profile_availability

# One question of one user costs the scheduler a command: the answer is kept so long.
_KEEP_SECONDS = 30.0
_KEEP_MOST = 500
# Of the eight commands that run at a time, previews have two.
_AT_ONCE = 2
_BURST = 6
_EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen: may it start, in words, and which field is to blame."""

    allowed: bool
    text: str
    field: str = ""


Guess = Callable[[], Awaitable[datetime | None]]


class Guesses:
    """The scheduler's guesses of the last half minute, by account and resources.

    A user has one question under way at a time and few a minute, and all together have
    fewer than the scheduler's commands that may run: submits and cancels find room.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[
            tuple[str, Resources], tuple[float, asyncio.Future[datetime | None]]
        ] = OrderedDict()
        self._pace = Buckets(_BURST, _EVERY_SECONDS, clock)
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._busy: set[str] = set()

    async def get(
        self, user: str, account: str, resources: Resources, ask: Guess
    ) -> Any:
        """Return when a job would start; ask only if nobody asked just now.

        Raises:
            GatewayError: what ``ask`` raised, which is kept as an answer is.
            TooOften: ``user`` has a question under way, or asked many of late.
        """
        key = (account, resources)
        guess = self._kept.get(key)
        if guess is None or self._clock() - guess[0] > _KEEP_SECONDS:
            if user in self._busy:
                raise TooOften(1.0)
            self._pace.take(user)
            self._busy.add(user)
            guess = (self._clock(), asyncio.ensure_future(self._in_turn(user, ask)))
            self._kept[key] = guess
            self._kept.move_to_end(key)
            while len(self._kept) > _KEEP_MOST:
                self._kept.popitem(last=False)
        # Shielded: one requester who goes away takes the answer from nobody.
        return await asyncio.shield(guess[1])

    async def _in_turn(self, user: str, ask: Guess) -> datetime | None:
        try:
            async with self._turn:
                return await ask()
        finally:
            self._busy.discard(user)


class _PageHandler(APIHandler):  # type: ignore[misc]  # JupyterHub is untyped
    """A signed-in person's question about what she may start."""

    def spawner(self, scope: str) -> Any:
        """Return the asking user's default spawner, which knows her groups.

        Raises:
            HTTPError: 403 for a token without ``scope`` of its user.
        """
        return require_own(self, scope).spawner


class SpawnPageHandler(_PageHandler):
    """``GET spawn-page``: what an open spawn page refreshes."""

    @web.authenticated
    async def get(self) -> None:
        """Answer ``{"availability": {KEY: {text, tone}}, "cluster": {...}}``."""
        spawner = self.spawner("read:servers")
        snapshot = spawner.requester.snapshot
        known = SchedulerFacts(snapshot, await limits_of(spawner))
        self.finish(
            json.dumps(
                {
                    "availability": {
                        profile.key: asdict(profile_availability(profile, snapshot))
                        for profile in offered_profiles(spawner)
                    },
                    "cluster": asdict(cluster_table(known, datetime.now(UTC))),
                }
            )
        )


class PreviewHandler(_PageHandler):
    """``POST preview``: what would become of a choice. Nothing is submitted."""

    def initialize(self, guesses: Guesses) -> None:
        """Share the kept answers."""
        self.guesses = guesses

    @web.authenticated
    async def post(self) -> None:
        """Answer ``{"allowed", "text", "field"}`` for a choice as JSON object."""
        self.spawner("servers")  # who may not ask is told nothing of the question
        try:
            preview = await self._preview(self._choice())
        except TooOften as error:
            seconds = math.ceil(error.seconds)
            self.set_header("Retry-After", str(seconds))
            self.set_status(429)
            text = f"Too many questions at a time. Ask again in {seconds} s."
            self.finish(json.dumps({"status": 429, "message": text}))
            return
        self.finish(json.dumps(asdict(preview)))

    def _choice(self) -> dict[str, object]:
        choice = self.get_json_body()
        if not isinstance(choice, dict):
            raise web.HTTPError(400, "The choice must be an object of names.")
        return {
            name: int(value)
            if name in ("cpus", "gpus")
            and isinstance(value, str)
            and re.fullmatch(r"[0-9]{1,6}", value)
            else value
            for name, value in choice.items()
        }

    async def _preview(self, choice: dict[str, object]) -> Preview:
        spawner = self.spawner("servers")
        try:
            resources = spawner.plan(choice).resources
        except InvalidSpec as error:
            return Preview(allowed=False, text=_refusal(error), field=error.field)
        account = spawner.gateway.account_of(spawner.user.name)
        jobs = spawner.gateway.jobs
        try:
            await jobs.check(resources, user=account)
            free = availability(resources, jobs.snapshot)
            if free.starts_now:
                return Preview(allowed=True, text="Should start now.")
            start = await self.guesses.get(
                spawner.user.name,
                account,
                resources,
                lambda: jobs.estimate(_probe(resources), user=account),
            )
        except SubmitRejected as error:
            return Preview(allowed=False, text=str(error), field=error.field)
        except GatewayError as error:
            self.log.info("No preview for %s: %s", account, error)
            return Preview(
                allowed=True,
                text="The scheduler does not answer just now; a start waits for it.",
            )
        return Preview(allowed=True, text=_start_in_words(start, free.text))


def _probe(resources: Resources) -> JobSpec:
    """Return a job to ask about, never to submit."""
    return JobSpec(
        name=new_job_name(),
        script="#!/bin/sh\nexit 0\n",
        resources=resources,
        workdir="/",
    )


def _refusal(error: InvalidSpec) -> str:
    """Return why a value is refused, with the field called as the page calls it."""
    label = LABELS.get(error.field)
    text = str(error)
    return text.replace(f"{error.field}:", f"{label}:", 1) if label else text


def _start_in_words(start: datetime | None, otherwise: str) -> str:
    if start is None:
        return f"{otherwise}. It will wait in the queue."
    wait = start - datetime.now(UTC)
    if wait.total_seconds() < 60:
        return "Should start now."
    minutes = timedelta(minutes=math.ceil(wait.total_seconds() / 60))
    words = duration_in_words(minutes)
    return f"Should start in about {words} (the scheduler's guess)."


class OwnJobHandler(APIHandler):  # type: ignore[misc]
    """``GET job``: asked by a notebook server, with the token it was started with."""

    @web.authenticated
    def get(self) -> None:
        """Answer ``{"job_id", "node", "ends_at"}``, each possibly null."""
        token = self.get_auth_token()
        asking = orm.APIToken.find(self.db, token) if token else None
        spawners = getattr(self.current_user, "spawners", {})
        for spawner in spawners.values():
            # By its row: a hub that was started after the server lacks the token.
            record = spawner.record
            if asking and spawner.token_id == asking.id and record is not None:
                self.finish(
                    json.dumps(
                        {
                            "job_id": record.job.id if record.job else None,
                            "node": next(iter(record.status.nodes), None),
                            "ends_at": iso(record.status.ends),
                        }
                    )
                )
                return
        raise web.HTTPError(404, "This token belongs to no running server.")


class PageFilesHandler(CacheControlStaticFilesHandler):  # type: ignore[misc]
    """Style and scripts of our pages: the same for everybody, no sign-in."""

    def compute_etag(self) -> str | None:
        """Let browsers ask again and be told "not modified"."""
        etag: str | None = web.StaticFileHandler.compute_etag(self)
        return etag


handlers: list[tuple[Any, ...]] = [
    (r"/api/landbridge/spawn-page", SpawnPageHandler),
    (r"/api/landbridge/preview", PreviewHandler, {"guesses": Guesses()}),
    (r"/api/landbridge/job", OwnJobHandler),
    (
        r"/landbridge/static/(.*)",
        PageFilesHandler,
        {"path": str(Path(__file__).resolve().parent / "static")},
    ),
]
"""Routes below the hub's prefix, for ``JupyterHub.extra_handlers``."""
