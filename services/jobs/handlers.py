"""The jobs service's REST API, as sketched by its table of routes at the end.

A client sends ``Authorization: Bearer TOKEN``; bodies are the dataclasses of
:mod:`spawners.batch.jobs.wire`, as JSON. The three calls of jobs' agents carry no token
of a client: what they prove is the rendezvous' business.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

from services.common.listening import log_request
from services.common.web.answers import AnswerHandler
from services.common.web.errors import BadRequest, NotSignedIn, Outdated
from services.common.web.event_writer import (
    KEEPALIVE_SECONDS,
    LOOK_SECONDS,
    EventWriter,
    encode_event,
)
from services.common.web.metrics import CONTENT_TYPE, exposition
from spawners.batch.errors import InvalidSpec, NotPermitted, SchedulerUnavailable
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.usage import Usage, UsageReport
from spawners.batch.jobs.wire import (
    Answer,
    Cancelled,
    Check,
    Count,
    ErrorAnswer,
    ErrorFacts,
    Estimate,
    Events,
    Listing,
    Names,
    Note,
    SetSubmission,
    Submission,
    dump,
    problem_of,
    read,
)
from spawners.batch.models import MOST_TASKS, Launch
from spawners.batch.rendezvous.messages import Answer as AgentAnswer
from spawners.batch.rendezvous.rendezvous import Rendezvous
from spawners.common.errors import GatewayError

from .clients import Client
from .service import JobsService, health_of, numbers_of

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Bytes of the largest request: a script, a launch with its programs, an environment.
LARGEST_BODY = 8 * 1024**2

_SNAPSHOT_SECONDS = 20.0
_OLDEST_SNAPSHOT = timedelta(days=1)
_USAGE_PERIOD = timedelta(days=30)


class JobsHandler(AnswerHandler):
    """Who asks, and errors of the batch core as they travel."""

    def initialize(self, service: JobsService, *, for_jobs: bool = False) -> None:
        """Take the service; ``for_jobs`` is the entrance by the edge."""
        self.prepare_answer({})
        self.service = service
        self.for_jobs = for_jobs

    def check_xsrf_cookie(self) -> None:
        """No browser asks here: each request has its token."""

    def _token(self) -> str:
        kind, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""

    async def client(self) -> Client:
        """Return who asks.

        Raises:
            NotSignedIn: nobody that is known.
        """
        token = self._token()
        client = await self.service.client_of(token) if token else None
        # A token of the table that leaked is of no use but to who may open the socket.
        if client is None or (self.for_jobs and not client.is_job):
            raise NotSignedIn("This token is not good, or not any more.")
        self.asked_by = client.name
        return client

    def body(self, kind: type[T]) -> T:
        """Return the body, which must be a value of ``kind``.

        Raises:
            InvalidSpec: naming what is wrong in it.
        """
        return read(kind, self.request.body)

    def argument(self, name: str, otherwise: str = "") -> str:
        """Return a value of the query.

        Raises:
            BadRequest: it is given twice, or is no UTF-8.
        """
        values = self.request.query_arguments.get(name, [])
        if len(values) > 1:
            raise BadRequest("A value is given twice.", field=f"query.{name}")
        try:
            return values[0].decode() if values else otherwise
        except UnicodeDecodeError:
            raise BadRequest("This is not UTF-8.", field=f"query.{name}") from None

    def number(self, name: str, otherwise: int) -> int:
        """Return a whole number of the query, 0 or more.

        Raises:
            BadRequest: it is none.
        """
        text = self.argument(name, str(otherwise))
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            raise BadRequest("Must be a whole number.", field=f"query.{name}")
        return int(text)

    def answer(self, value: object, status: int = 200) -> None:
        """Answer a value of ours."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(dump(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error of the batch core as it travels, any other as usual."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        if not isinstance(error, GatewayError):
            super().write_error(status_code, **kwargs)
            return
        status, told = problem_of(error)
        facts = told.error
        facts = ErrorFacts(
            facts.code, facts.message, facts.hint, facts.field, self.error_id
        )
        self.answer(ErrorAnswer(facts, told.record), status)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log in one line what the caller is told in full."""
        if isinstance(value, GatewayError):
            log.info("%s %s: %s", self.request.method, self.request.path, value)
        elif not isinstance(value, StreamClosedError):
            super().log_exception(typ, value, tb)


class JobHandler(JobsHandler):
    """``/v1/jobs/{name}``: one job."""

    async def put(self, name: str) -> None:
        """Submit it: 201, or 200 if this request came before."""
        client = await self.client()
        record, first = await self.service.submit(client, name, self.body(Submission))
        feed = self.service.feed
        # As it is now: more may have happened since it was submitted.
        record = self.service.jobs.get(name) or record
        answer = Answer(feed.epoch, feed.entry(record))
        self.answer(answer, 201 if first else 200)

    async def get(self, name: str) -> None:
        """Answer its record."""
        record = await self.service.read(await self.client(), name)
        feed = self.service.feed
        self.answer(Answer(feed.epoch, feed.entry(record)))

    async def delete(self, name: str) -> None:
        """Have it ended, for good; also a name whose submission is on its way."""
        known = await self.service.cancel(await self.client(), name)
        self.answer(Cancelled(known), 202)


class JobListHandler(JobsHandler):
    """``/v1/jobs?owner=PREFIX``: many jobs."""

    async def get(self) -> None:
        """Answer all records that the client sees, and their revision."""
        client = await self.client()
        self.answer(self.service.listing(client, self.argument("owner")))

    async def delete(self) -> None:
        """Have all of one owner, or of a prefix, ended."""
        client = await self.client()
        count = await self.service.cancel_owned(client, self.argument("owner"))
        self.answer(Count(count), 202)


class SetHandler(JobsHandler):
    """``/v1/sets/{name}``: equal jobs, which are submitted at once."""

    async def put(self, name: str) -> None:
        """Submit them: 201, or 200 if this request came before."""
        client = await self.client()
        asked = self.body(SetSubmission)
        records, first = await self.service.submit_set(client, name, asked)
        feed, jobs = self.service.feed, self.service.jobs
        entries = [feed.entry(jobs.get(record.name) or record) for record in records]
        answer = Listing(feed.epoch, feed.revision, tuple(entries))
        self.answer(answer, 201 if first else 200)

    async def delete(self, name: str) -> None:
        """Have all of them ended; also a set whose submission is on its way."""
        known = await self.service.cancel_set(await self.client(), name)
        self.answer(Cancelled(known), 202)


class CancellationsHandler(JobsHandler):
    """``/v1/cancellations``."""

    async def post(self) -> None:
        """Have many jobs ended at once; answer for how many that was new."""
        client = await self.client()
        names = self.body(Names).names
        if len(names) > MOST_TASKS:
            raise InvalidSpec("names", f"must be at most {MOST_TASKS}.")
        self.answer(Count(await self.service.cancel_many(client, names)), 202)


class FailureHandler(JobsHandler):
    """``/v1/jobs/{name}/failure``."""

    async def post(self, name: str) -> None:
        """Write down why the job is of no use any more, and have it ended."""
        client = await self.client()
        await self.service.give_up(client, name, self.body(Failure))
        self.answer(Cancelled(known=True), 202)


class ReleaseHandler(JobsHandler):
    """``/v1/jobs/{name}/release``."""

    async def post(self, name: str) -> None:
        """Have nothing kept of the job once it is over."""
        await self.service.release(await self.client(), name)
        self.answer(Cancelled(known=True))


class CredentialHandler(JobsHandler):
    """``/v1/jobs/{name}/credential``: a secret."""

    async def post(self, name: str) -> None:
        """Give the job's owner what opens the job's server."""
        credential = await self.service.credential(await self.client(), name)
        self.set_header("Cache-Control", "no-store")
        self.answer(credential)


class LaunchHandler(JobsHandler):
    """``/v1/jobs/{name}/launch``."""

    async def put(self, name: str) -> None:
        """Take what a job starts that is there already; tell if it waits for it."""
        client = await self.client()
        waits = await self.service.give_launch(client, name, self.body(Launch))
        self.answer(Count(int(waits)))


class NoteHandler(JobsHandler):
    """``/v1/jobs/{name}/events``."""

    async def post(self, name: str) -> None:
        """Append a line to the job's story."""
        client = await self.client()
        event = await self.service.note(client, name, self.body(Note))
        self.answer(Events((event,)), 201)


class EventsHandler(JobsHandler):
    """``/v1/events?owner=OWNER&generation=N&after=SEQ``: the story of one start."""

    async def get(self) -> None:
        """Answer the events past ``after``, of the newest start by default."""
        client = await self.client()
        generation = self.number("generation", 0) or None
        events = await self.service.events(
            client, self.argument("owner"), self.number("after", 0), generation
        )
        self.answer(Events(tuple(events)))


class CheckHandler(JobsHandler):
    """``/v1/check``."""

    async def post(self) -> None:
        """Refuse what the scheduler would take and never start."""
        client = await self.client()
        await self.service.check(client, self.body(Check))
        self.answer(Count(0))


class EstimateHandler(JobsHandler):
    """``/v1/estimate``."""

    async def post(self) -> None:
        """Guess when a job would start."""
        client = await self.client()
        asked = self.body(Submission)
        self.service.check_account(client, asked.user)
        spec = asked.spec("estimate", asked.script or "#!/bin/sh\n")
        start = await self.service.jobs.estimate(spec, user=asked.user)
        self.answer(Estimate(start))


class LimitsHandler(JobsHandler):
    """``/v1/users/{user}/limits``."""

    async def get(self, user: str) -> None:
        """Answer what the scheduler allows an account."""
        client = await self.client()
        self.service.check_account(client, user)
        self.answer(await self.service.jobs.limits(user))


class UserUsageHandler(JobsHandler):
    """``/v1/users/{user}/usage``."""

    async def post(self, user: str) -> None:
        """Take over what a user's notebook server tells of its kernels."""
        client = await self.client()
        report = self.body(UsageReport)
        await self.service.report_usage(client, user, report)
        self.answer(Count(len(report.jobs)))


class UsageHandler(JobsHandler):
    """``/v1/usage?user=NAME&since=TIME``: what jobs used."""

    async def get(self) -> None:
        """Answer with the jobs of a user, or of all, that ran since a time."""
        client = await self.client()
        user = self.argument("user") or None
        self.answer(Usage(await self.service.used(client, user, self._since())))

    def _since(self) -> datetime:
        """Return the time of the query, with its zone; a month ago by default.

        Raises:
            BadRequest: it is none.
        """
        text = self.argument("since")
        if not text:
            return datetime.now(UTC) - _USAGE_PERIOD
        try:
            since = datetime.fromisoformat(text)
        except ValueError:
            raise BadRequest("Must be a time.", field="query.since") from None
        if since.tzinfo is None:
            raise BadRequest("Must be a time with its zone.", field="query.since")
        return since


class ClusterHandler(JobsHandler):
    """``/v1/cluster?max_age=SECONDS``."""

    async def get(self) -> None:
        """Answer a snapshot of at most that age.

        Raises:
            SchedulerUnavailable: none could be made in time.
        """
        await self.client()
        jobs = self.service.jobs
        age = timedelta(seconds=self.number("max_age", 60))
        try:
            async with asyncio.timeout(_SNAPSHOT_SECONDS):
                snapshot = await jobs.fresh_snapshot(min(age, _OLDEST_SNAPSHOT))
        except TimeoutError:
            raise SchedulerUnavailable("The cluster cannot be read now.") from None
        self.answer(snapshot)


class WatchHandler(JobsHandler):
    """``/v1/watch?owner=PREFIX&after=EPOCH-REVISION``: what changes, as it changes.

    A stream of events: ``record`` with an entry, ``dropped`` with a name. The
    ``id`` is the revision to go on from. 410 says that it cannot be gone on from there.
    """

    async def get(self) -> None:
        """Send what changed after a revision, until the reader goes."""
        client = await self.client()
        prefix = self.argument("owner")
        wanted = self.request.headers.get("Last-Event-ID") or self.argument("after")
        epoch, _, text = wanted.partition("-")
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not self.service.feed.knows(epoch, number):
            raise Outdated("This revision is not known here: list the jobs again.")
        self.service.readers += 1
        try:
            writer = EventWriter(self)
            await writer.begin()
            await self._follow(writer, client, prefix, number)
        except StreamClosedError:
            log.debug("A reader of %s went away", client.name)
        except NotSignedIn:
            log.info("The stream of %s ends with its right", client.name)
        finally:
            self.service.readers -= 1

    async def _follow(
        self, writer: EventWriter, client: Client, prefix: str, number: int
    ) -> None:
        feed = self.service.feed
        look_at = monotonic() + LOOK_SECONDS
        while not feed.closed and feed.knows(feed.epoch, number):
            for change in feed.after(number):
                number = change.revision
                if change.owner.startswith(prefix) and client.sees(change.owner):
                    kind = "dropped" if change.entry is None else "record"
                    data = dump(change.name if change.entry is None else change.entry)
                    event_id = f"{feed.epoch}-{number}"
                    if await writer.write(encode_event(data, id=event_id, kind=kind)):
                        break  # what comes next may have changed meanwhile
            await writer.flush()
            if monotonic() > look_at:
                # A right that ended ends what was opened by it.
                await self.client()
                look_at = monotonic() + LOOK_SECONDS
            try:
                async with asyncio.timeout(KEEPALIVE_SECONDS):
                    await feed.wait(number)
            except TimeoutError:
                await writer.keep_alive()


class HealthHandler(JobsHandler):
    """``/health``: whether the service can work; says no secrets."""

    async def get(self) -> None:
        """Answer 200 if it can, else 503."""
        ready, facts = health_of(self.service)
        self.set_status(200 if ready else 503)
        self.answer_json({"status": "ready" if ready else "not-ready", **facts})


class MetricsHandler(JobsHandler):
    """``/metrics``: numbers for Prometheus, for clients that see all jobs."""

    async def get(self) -> None:
        """Answer them."""
        if not self._collects():
            client = await self.client()
            if not client.reads_all:
                raise NotPermitted(f"{client.name} does not see all jobs.")
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(exposition(partial(numbers_of, self.service)))

    def _collects(self) -> bool:
        authorization = self.request.headers.get("Authorization", "")
        return self.service.metrics_token.is_shown_by(authorization)


class NowhereHandler(JobsHandler):
    """Every path that is no route."""

    def prepare(self) -> None:
        """Refuse."""
        raise HTTPError(404, reason="There is no such call here.")


class AgentHandler(RequestHandler):
    """``{fetch,ready,ended}``: what a job says, checked by the rendezvous.

    Answers to ``fetch`` hold secrets.
    """

    def initialize(self, rendezvous: Rendezvous, verb: str) -> None:
        """Serve one of the three calls."""
        self._handle: Callable[[bytes, str], Awaitable[AgentAnswer]]
        self._handle = getattr(rendezvous, verb)

    def check_xsrf_cookie(self) -> None:
        """A job has no cookie; it proves itself in the body."""

    def set_default_headers(self) -> None:
        """Say what the answers are, and that nobody may keep them."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    async def post(self) -> None:
        """Hand the report over and send the answer."""
        answer = await self._handle(self.request.body, self.request.remote_ip or "")
        self.set_status(answer.status)
        self.finish(json.dumps(dict(answer.json)))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell nothing of an error of ours; the job tries again."""
        self.finish(json.dumps({"error": "internal", "action": "retry"}))


def make_application(
    service: JobsService, rendezvous: Rendezvous, agent_paths: Sequence[str]
) -> Application:
    """Return the Tornado application.

    What clients ask for at ``/v1``, jobs ask for below the first of ``agent_paths``:
    only those does the edge show to compute nodes.

    Args:
        service: does the work.
        rendezvous: answers jobs' agents.
        agent_paths: where they call, without a slash at the end.
    """
    name, user = "([A-Za-z0-9][A-Za-z0-9-]{0,63})", "([^/]{1,255})"
    calls: list[tuple[str, type[JobsHandler]]] = [
        ("/v1/jobs", JobListHandler),
        (f"/v1/jobs/{name}", JobHandler),
        (f"/v1/jobs/{name}/failure", FailureHandler),
        (f"/v1/jobs/{name}/launch", LaunchHandler),
        (f"/v1/jobs/{name}/release", ReleaseHandler),
        (f"/v1/jobs/{name}/credential", CredentialHandler),
        (f"/v1/jobs/{name}/events", NoteHandler),
        ("/v1/events", EventsHandler),
        ("/v1/watch", WatchHandler),
        ("/v1/check", CheckHandler),
        ("/v1/estimate", EstimateHandler),
        ("/v1/cluster", ClusterHandler),
        (f"/v1/users/{user}/limits", LimitsHandler),
    ]
    shared = {"service": service}
    by_the_edge = {"service": service, "for_jobs": True}
    rules: list[Any] = [(path, handler, shared) for path, handler in calls]
    rules += [(agent_paths[0] + path, handler, by_the_edge) for path, handler in calls]
    rules += [
        (f"/v1/sets/{name}", SetHandler, shared),
        ("/v1/cancellations", CancellationsHandler, shared),
        ("/v1/usage", UsageHandler, shared),
        (f"/v1/users/{user}/usage", UserUsageHandler, shared),
        ("/health", HealthHandler, shared),
        ("/metrics", MetricsHandler, shared),
    ]
    rules += _agent_rules(rendezvous, agent_paths)
    return Application(
        rules,
        default_handler_class=NowhereHandler,
        default_handler_args=shared,
        log_function=log_request,
    )


def make_agent_application(rendezvous: Rendezvous, agent_path: str) -> Application:
    """Return an application that answers jobs' agents and nobody else."""
    return Application(
        _agent_rules(rendezvous, (agent_path,)), log_function=log_request
    )


def _agent_rules(rendezvous: Rendezvous, agent_paths: Iterable[str]) -> list[Any]:
    return [
        (f"{path}/{verb}", AgentHandler, {"rendezvous": rendezvous, "verb": verb})
        for path in agent_paths
        for verb in ("fetch", "ready", "ended")
    ]
