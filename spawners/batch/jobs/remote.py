"""The jobs service's client: :class:`RemoteJobs`, which is a :class:`~.api.JobsApi`.

It keeps a mirror of the records that it may see: one list, then a stream of what
changes. Reading asks nobody. Each request is the same when it comes twice, so what got
no answer is sent again, with growing pauses.

A mirror that was cut off says so (``status_is_current`` is False in all that it shows)
and ends nothing: what it knows stays until the service has told it more.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import (  # Any: the result of a task that is only kept
    TYPE_CHECKING,
    Any,
    TypeVar,
)
from urllib.parse import quote, urlencode

from spawners.common.errors import GatewayError

from ..errors import InvalidSpec, SchedulerUnavailable
from ..explain.failure import Failure
from ..explain.vocabulary import JOB, Vocabulary
from ..models import (
    MOST_TASKS,
    JobSpec,
    Launch,
    Resources,
    checked_count,
    task_name,
)
from ..scheduler import ClusterSnapshot, UserLimits
from .api import JobsApi
from .errors import AlreadyLive, UnknownJob
from .http import NoAnswer, Way
from .record import JobEvent, JobRecord, Retain
from .service_client import (
    RemoteSettings,
    ServiceAway,
    ServiceClient,
    words_of,
)
from .usage import Usage, UsageReport, Used
from .wire import (
    Answer,
    Cancelled,
    Check,
    Count,
    Credential,
    Entry,
    Estimate,
    Events,
    Listing,
    Names,
    Note,
    SetSubmission,
    Submission,
    read,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

_OK = 200
_OUTDATED = 410
_SNAPSHOT_AGE = timedelta(minutes=1)
_MOST_DROPPED = 1_000


class Outdated(Exception):
    """The service cannot tell what changed since: everything is to be listed again."""


@dataclass(slots=True)
class _Held:
    entry: Entry
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class RemoteJobs:
    """The jobs of a gateway, through its jobs service. A :class:`~.api.JobsApi`.

    Args:
        way: how the service is reached; a path is its socket's.
        token: reads this client's token; called again when one was refused.
        prefix: only records of owners that begin so are mirrored; ``""``: all that the
            client may see.
        sends_scripts: whether the specs' scripts and options of the scheduler are sent,
            or the service is to run each launch by a script of its own.
        settings: see :class:`RemoteSettings`.

    Attributes:
        connected: True while the mirror hears of every change.
    """

    def __init__(
        self,
        way: Path | Way,
        token: Callable[[], str],
        *,
        prefix: str = "",
        sends_scripts: bool = True,
        settings: RemoteSettings | None = None,
    ) -> None:
        self.connected = False
        self._client = ServiceClient(way, token, settings)
        self._prefix = prefix
        self._sends_scripts = sends_scripts
        self._epoch = ""
        self._revision = 0
        self._held: dict[str, _Held] = {}
        self._newest: dict[str, str] = {}
        self._dropped: dict[str, int] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._news = asyncio.Event()
        self._listed = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        # Answers about single jobs while a list is asked for.
        self._taken: dict[str, Answer] | None = None
        # The owners of jobs that are being submitted and have no answer yet, by name.
        self._submitting: dict[str, str] = {}
        self._snapshot: ClusterSnapshot | None = None
        self._snapshot_asked = float("-inf")

    async def start(self) -> None:
        """Begin to mirror; returns once all records are here. The caller's deadline."""
        self._follower = asyncio.create_task(self._follow())
        await self._listed.wait()

    async def close(self) -> None:
        """Disconnect; the jobs go on."""
        tasks = [*self._tasks, *([self._follower] if self._follower else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Submitting and ending

    async def submit(
        self,
        spec: JobSpec,
        *,
        user: str,
        owner: str,
        facts: Mapping[str, str] | None = None,
        launch: Launch | None = None,
        vocabulary: Vocabulary = JOB,
        retain: Retain = Retain.NEWEST,
    ) -> JobRecord:
        """See :class:`~.api.JobsApi`.

        Raises:
            ServiceAway: it did not answer for long; the job, should it be there, ends.
        """
        asked = Submission.of(
            spec,
            user=user,
            owner=owner,
            facts=facts or {},
            launch=launch,
            vocabulary=vocabulary,
            retain=retain,
        )
        owners = {spec.name: owner}
        put = self._submit(_job(spec.name), Answer, self._sent(asked), owners)
        # A caller that goes away leaves it to be finished, as with Jobs.
        return self._take(await asyncio.shield(self._keep(put)))

    async def submit_set(
        self,
        spec: JobSpec,
        *,
        user: str,
        owners: Sequence[str],
        facts: Mapping[str, str] | None = None,
        launch: Launch | None = None,
        vocabulary: Vocabulary = JOB,
        retain: Retain = Retain.NEWEST,
    ) -> list[JobRecord]:
        """See :class:`~.api.JobsApi`.

        Raises:
            ServiceAway: it did not answer for long; what is there of them ends.
        """
        checked_count(spec, len(owners))
        each = Submission.of(
            spec,
            user=user,
            owner=owners[0].partition("/")[0] + "/",
            facts=facts or {},
            launch=launch,
            vocabulary=vocabulary,
            retain=retain,
        )
        asked = SetSubmission(self._sent(each), tuple(owners))
        tasks = {task_name(spec.name, n): owner for n, owner in enumerate(owners)}
        put = self._submit(_set(spec.name), Listing, asked, tasks)
        answer = await asyncio.shield(self._keep(put))
        return [self._take(Answer(answer.epoch, entry)) for entry in answer.entries]

    def _sent(self, asked: Submission) -> Submission:
        """Return what is sent of a submission."""
        if self._sends_scripts:
            return asked
        return replace(asked, script=None, options=())

    async def _submit(
        self, path: str, kind: type[T], asked: object, owners: Mapping[str, str]
    ) -> T:
        """Submit what will have these owners, by the jobs' names."""
        self._submitting |= owners
        try:
            return await self._client.ask("PUT", path, kind, asked)
        except AlreadyLive as error:
            await self._learn(error.record.name)
            raise
        except ServiceAway:
            # Nobody waits for it any more, so it must not come.
            self._keep(self._end(path))
            raise
        finally:
            for name in owners:
                self._submitting.pop(name, None)

    async def cancel(self, name: str) -> None:
        """See :class:`~.api.JobsApi`."""
        answer = await self._client.ask("DELETE", _job(name), Cancelled)
        if not answer.known and name not in self._submitting:
            raise UnknownJob(f"There is no job named {name[:80]!r}.")

    async def cancel_many(self, names: Collection[str]) -> int:
        """See :class:`~.api.JobsApi`."""
        count, asked = 0, tuple(dict.fromkeys(names))
        for start in range(0, len(asked), MOST_TASKS):
            some = Names(asked[start : start + MOST_TASKS])
            answer = await self._client.ask("POST", "/v1/cancellations", Count, some)
            count += answer.count
        return count

    async def cancel_owned(self, prefix: str) -> int:
        """See :class:`~.api.JobsApi`."""
        if not prefix.endswith(("/", ":")):
            raise InvalidSpec("owner", "must be a whole prefix, ending in / or :.")
        answer = await self._client.ask(
            "DELETE", _path("/v1/jobs", owner=prefix), Count
        )
        # What may still be on its way there.
        mine = [n for n, owner in self._submitting.items() if owner.startswith(prefix)]
        return answer.count + await self.cancel_many(mine)

    async def give_up(self, name: str, failure: Failure) -> None:
        """See :class:`~.api.JobsApi`."""
        await self._client.ask("POST", f"{_job(name)}/failure", Cancelled, failure)

    async def give_launch(self, name: str, launch: Launch) -> bool:
        """See :class:`~.api.JobsApi`."""
        answer = await self._client.ask("PUT", f"{_job(name)}/launch", Count, launch)
        return bool(answer.count)

    async def release(self, name: str) -> None:
        """See :class:`~.api.JobsApi`."""
        await self._client.ask("POST", f"{_job(name)}/release", Cancelled)

    async def credential(self, name: str) -> Credential:
        """Return what opens the server of one's own job, for as long as that lives.

        Raises:
            UnknownJob: there is no such job, it is another client's, or over.
        """
        return await self._client.ask("POST", f"{_job(name)}/credential", Credential)

    async def note(
        self, name: str, kind: str, message: str, **data: str | float | None
    ) -> JobEvent:
        """See :class:`~.api.JobsApi`."""
        note = Note(kind, message, data, secrets.token_hex(8))
        answer = await self._client.ask("POST", f"{_job(name)}/events", Events, note)
        return answer.events[0]

    # Reading

    def get(self, name: str) -> JobRecord | None:
        """See :class:`~.api.JobsApi`."""
        held = self._held.get(name)
        return self._shown(held.entry.record) if held else None

    def current(self, owner: str) -> JobRecord | None:
        """See :class:`~.api.JobsApi`."""
        name = self._newest.get(owner)
        return self.get(name) if name else None

    def records(
        self, *, user: str | None = None, live_only: bool = True
    ) -> list[JobRecord]:
        """See :class:`~.api.JobsApi`."""
        records = [held.entry.record for held in self._held.values()]
        return [
            self._shown(record)
            for record in sorted(records, key=lambda record: record.created)
            if (user is None or record.user == user) and (record.live or not live_only)
        ]

    def listen(self, changed: Callable[[str], None]) -> None:
        """See :class:`~.api.JobsApi`."""
        self._listeners.append(changed)

    async def wait(self, name: str, until: Callable[[JobRecord], object]) -> JobRecord:
        """See :class:`~.api.JobsApi`."""
        while True:
            held = self._held.get(name)
            news = self._news
            # An old one, or of another owner than is mirrored here.
            record = self._shown(held.entry.record) if held else await self._read(name)
            if until(record):
                return record
            await (held.changed if held else news).wait()

    async def events(
        self, owner: str, after: int = 0, generation: int | None = None
    ) -> list[JobEvent]:
        """See :class:`~.api.JobsApi`."""
        path = _path("/v1/events", owner=owner, after=after, generation=generation or 0)
        return list((await self._client.ask("GET", path, Events, reads=True)).events)

    async def changed(self, owner: str, after: int) -> None:
        """See :class:`~.api.JobsApi`."""
        began = self._newest.get(owner)
        while True:
            name = self._newest.get(owner)
            held = self._held.get(name) if name else None
            if name != began or (held and held.entry.last_event > after):
                return
            await self._news.wait()

    async def check(self, resources: Resources, *, user: str, count: int = 1) -> None:
        """See :class:`~.api.JobsApi`."""
        asked = Check(user, resources, count)
        await self._client.ask("POST", "/v1/check", Count, asked, reads=True)

    async def estimate(self, spec: JobSpec, *, user: str) -> datetime | None:
        """See :class:`~.api.JobsApi`."""
        asked = Submission.of(spec, user=user, owner="", facts={})
        answer = await self._client.ask(
            "POST", "/v1/estimate", Estimate, self._sent(asked), reads=True
        )
        return answer.start

    async def limits(self, user: str) -> UserLimits:
        """See :class:`~.api.JobsApi`."""
        path = f"/v1/users/{quote(user, safe='')}/limits"
        return await self._client.ask("GET", path, UserLimits, reads=True)

    async def usage(self, user: str | None, since: datetime) -> tuple[Used, ...]:
        """Return a user's jobs, or everybody's, that ran since then, newest first."""
        path = _path("/v1/usage", user=user or "", since=since.isoformat())
        return (await self._client.ask("GET", path, Usage, reads=True)).jobs

    async def report_usage(self, user: str, report: UsageReport) -> None:
        """Hand on what a user's notebook server tells of its kernels.

        Raises:
            LimitReached: more jobs than anybody has.
            InvalidSpec: one is a job of the batch core's; nothing is taken.
        """
        path = f"/v1/users/{quote(user, safe='')}/usage"
        await self._client.ask("POST", path, Count, report)

    @property
    def snapshot(self) -> ClusterSnapshot | None:
        """See :class:`~.api.JobsApi`."""
        age = self._snapshot_age()
        asked_before = time.monotonic() - self._snapshot_asked
        if min(age, asked_before) > _SNAPSHOT_AGE.total_seconds():
            self._snapshot_asked = time.monotonic()
            self._keep(self._look_at_cluster())
        return self._snapshot

    async def fresh_snapshot(
        self, max_age: timedelta = timedelta(minutes=5)
    ) -> ClusterSnapshot | None:
        """See :class:`~.api.JobsApi`."""
        for pause in self._client.pauses():
            if self._snapshot_age() <= max_age.total_seconds():
                break
            try:
                # It is fresh by the service's word, whatever our clock says.
                await self._take_snapshot(max_age)
                break
            except SchedulerUnavailable as error:
                log.info("Cannot read the cluster: %s", error)
                await asyncio.sleep(pause)
        return self._snapshot

    def _snapshot_age(self) -> float:
        if self._snapshot is None:
            return float("inf")
        return (datetime.now(UTC) - self._snapshot.taken_at).total_seconds()

    async def _look_at_cluster(self) -> None:
        try:
            await self._take_snapshot(_SNAPSHOT_AGE)
        except GatewayError as error:
            log.warning("Cannot read the cluster: %s", error)
            self._snapshot_asked = float("-inf")

    async def _take_snapshot(self, max_age: timedelta) -> None:
        path = _path("/v1/cluster", max_age=max(1, int(max_age.total_seconds())))
        self._snapshot = await self._client.ask("GET", path, ClusterSnapshot)

    # The mirror

    async def _follow(self) -> None:
        """List, then hear of what changes; again and again, for ever."""
        pauses = self._client.pauses()
        while True:
            try:
                if not self._epoch:
                    await self._list()
                async for kind, identity, data in self._stream():
                    self._apply(kind, identity, data)
                    pauses = self._client.pauses()
            except Outdated:
                self._epoch = ""
                log.info("The jobs service cannot go on where we were: listing again")
            except (NoAnswer, GatewayError) as error:
                log.warning("Cut off from the jobs service: %s", words_of(error))
            except Exception:
                # What was sent makes no sense: believe the next list instead.
                log.exception("Cannot mirror the jobs")
                self._epoch = ""
            self._cut()
            await asyncio.sleep(next(pauses))

    async def _list(self) -> None:
        path = _path("/v1/jobs", owner=self._prefix)
        taken = self._taken = {}
        listing = await self._client.ask("GET", path, Listing)
        before = self._held
        self._epoch, self._revision = listing.epoch, listing.revision
        self._held = {}
        self._newest = {}
        self._dropped = {}
        for entry in listing.entries:
            held = before.pop(entry.record.name, None)
            self._held[entry.record.name] = held or _Held(entry)
            self._held[entry.record.name].entry = entry
            self._is_newest(entry.record)
        self._taken = None
        for answer in taken.values():
            # Submitted while we listed: the list may be the older one.
            self._take(answer)
        self.connected = True
        self._listed.set()
        self._wake([*self._held.values(), *before.values()])

    async def _stream(self) -> AsyncIterator[tuple[str, str, str]]:
        """Yield kind, id and data of what changes, until the stream is cut."""
        after = f"{self._epoch}-{self._revision}"
        path = _path("/v1/watch", owner=self._prefix, after=after)
        async with self._client.stream(path) as stream:
            if stream.status == _OUTDATED:
                raise Outdated
            if stream.status != _OK:
                raise ServiceAway(f"it answered {stream.status}")
            self._reconnected()
            kind = identity = ""
            async for line in stream.lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    identity = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    yield kind, identity, value

    def _apply(self, kind: str, identity: str, data: str) -> None:
        epoch, _, number = identity.partition("-")
        if epoch != self._epoch:
            raise Outdated
        if kind == "record":
            self._put(read(Entry, data, newer=True))
        elif kind == "dropped":
            self._drop(read(str, data), int(number))
        self._revision = max(self._revision, int(number))

    def _put(self, entry: Entry) -> None:
        """Take an entry of this epoch over, unless we know better."""
        held = self._held.get(entry.record.name)
        if entry.revision <= self._dropped.get(entry.record.name, -1):
            return
        if held is None:
            held = self._held[entry.record.name] = _Held(entry)
        elif entry.revision < held.entry.revision:
            return
        held.entry = entry
        self._is_newest(entry.record)
        self._wake([held])

    def _drop(self, name: str, revision: int) -> None:
        # An answer that is still on its way must not bring it back.
        self._dropped[name] = revision
        while len(self._dropped) > _MOST_DROPPED:
            del self._dropped[next(iter(self._dropped))]
        held = self._held.get(name)
        if held is None or held.entry.revision > revision:
            return
        del self._held[name]
        if self._newest.get(held.entry.record.owner) == name:
            del self._newest[held.entry.record.owner]
        self._wake([held])

    def _take(self, answer: Answer) -> JobRecord:
        """Take over what a request was answered; the stream tells the same, later."""
        record = answer.entry.record
        if self._taken is not None:
            self._taken[record.name] = answer
        if answer.epoch == self._epoch and record.owner.startswith(self._prefix):
            self._put(answer.entry)
        elif record.name not in self._held and record.owner.startswith(self._prefix):
            # Of a service that has ended since, or that was not listed yet.
            self._put(replace(answer.entry, revision=0))
        return record

    async def _learn(self, name: str) -> None:
        """Have a record in the mirror that the service told us of."""
        try:
            self._take(await self._client.ask("GET", _job(name), Answer))
        except GatewayError as error:
            log.info("Cannot read job %s: %s", name, error)

    async def _read(self, name: str) -> JobRecord:
        return (await self._client.ask("GET", _job(name), Answer)).entry.record

    def _is_newest(self, record: JobRecord) -> None:
        known = self._held.get(self._newest.get(record.owner, ""))
        if known is None or known.entry.record.generation <= record.generation:
            self._newest[record.owner] = record.name

    def _shown(self, record: JobRecord) -> JobRecord:
        if self.connected or not record.status_is_current:
            return record
        return replace(record, status_is_current=False)

    def _cut(self) -> None:
        if self.connected:
            self.connected = False
            self._wake(self._held.values())

    def _reconnected(self) -> None:
        if not self.connected:
            log.info("The jobs service answers again")
            self.connected = True
            self._wake(self._held.values())

    def _wake(self, changed: Iterable[_Held]) -> None:
        for held in changed:
            held.changed, event = asyncio.Event(), held.changed
            event.set()
            for listener in self._listeners:
                listener(held.entry.record.name)
        self._news, news = asyncio.Event(), self._news
        news.set()

    # Asking

    async def _end(self, path: str) -> None:
        """Ask for an end until that is written down, however long it takes."""
        while True:
            try:
                await self._client.ask("DELETE", path, Cancelled)
            except ServiceAway:
                continue
            except GatewayError as error:
                log.warning("Cannot have %s ended: %s", path, error)
            return

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to the caller, if it is still there


def _job(name: str) -> str:
    return f"/v1/jobs/{quote(name, safe='')}"


def _set(name: str) -> str:
    return f"/v1/sets/{quote(name, safe='')}"


def _path(path: str, **query: object) -> str:
    return f"{path}?{urlencode(query)}"


if TYPE_CHECKING:  # it is one
    _api: type[JobsApi] = RemoteJobs
