"""Batch jobs without a batch system: processes of this machine, queued in slots.

For a laptop or a single server. Jobs outlive the hub: what is known of them is in a
directory, and each is watched over by a supervisor of its own. See
:mod:`~spawners.batch.local.queue` and :mod:`~spawners.batch.local.supervisor`.
Linux only (``/proc``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from spawners.common.accounts import LOWEST_UID, NoPerson, find_person
from spawners.common.text import count_in_words, size_in_words

from ..errors import BatchError, NotPermitted, SchedulerUnavailable, SubmitRejected
from ..models import (
    BatchJob,
    JobSpec,
    JobState,
    JobStatus,
    Resources,
    checked_count,
    submitted_name,
    task_name,
)
from ..scheduler import ClusterSnapshot, GpuPool, Partition, UserLimits
from .files import Account, Ticket, read_tail
from .gpus import list_gpus
from .queue import Keeping, LocalQueue, Slots, Step

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

PARTITION = "local"
"""The name of the only partition, which is this machine."""

_PATH = "/usr/local/bin:/usr/bin:/bin"
_FULL_PAUSE_SECONDS = 0.3
_FAILED_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """How this machine is used.

    Attributes:
        directory: where the queue is kept, on a local disk; made if need be.
        cpus: CPU slots; ``None`` for four per core, as notebooks are mostly idle
            and nothing is pinned.
        memory: bytes for all jobs together; ``None`` for what the machine has.
        gpus: GPUs, from index 0; ``None`` for those that ``nvidia-smi`` lists.
            More than there are simulates them.
        gpu_model: their model's name; ``None`` for what ``nvidia-smi`` tells.
        switch_user: as root, run each job as the account that it is for; else
            all run as ourselves.
        lowest_uid: with ``switch_user``, accounts below are the system's.
        kill_wait: how long a job that is to end has between TERM and KILL.
        keep: how long an ended job is remembered.
        keep_jobs: how many are, at most, of those that ended a while ago.
    """

    directory: Path
    cpus: int | None = None
    memory: int | None = None
    gpus: int | None = None
    gpu_model: str | None = None
    switch_user: bool = False
    lowest_uid: int = LOWEST_UID
    kill_wait: timedelta = timedelta(seconds=10)
    keep: timedelta = timedelta(days=1)
    keep_jobs: int = 1_000


class LocalScheduler:
    """A :class:`~spawners.batch.scheduler.Scheduler` of this machine's processes."""

    name = "local"

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        # One thread: the queue's files are read and written one at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-scheduler")
        self._queue: LocalQueue | None = None
        self._gpu_model = ""
        self._pump: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    async def submit(self, spec: JobSpec, *, user: str) -> BatchJob:
        """Put ``spec`` at the end of the queue; it may start at once."""
        return (await self._submit(spec, None, user))[0]

    async def submit_set(
        self, spec: JobSpec, count: int, *, user: str
    ) -> tuple[BatchJob, ...]:
        """Put ``count`` equal jobs at the end of the queue, all or none of them."""
        return await self._submit(spec, checked_count(spec, count), user)

    async def _submit(
        self, spec: JobSpec, count: int | None, user: str
    ) -> tuple[BatchJob, ...]:
        await self.check(spec.resources, user=user)
        account, environment = await asyncio.to_thread(self._identity, user)
        base = secrets.token_hex(6)
        numbers = [None] if count is None else range(count)
        tickets = [self._ticket(spec, user, account, base, n) for n in numbers]
        environment.update(spec.environment)

        added = await self._do(
            lambda queue: queue.add(tickets, spec.script, environment)
        )
        self._start_waiting()
        return tuple(_job(ticket) for ticket in added)

    def _ticket(
        self,
        spec: JobSpec,
        user: str,
        account: Account | None,
        base: str,
        number: int | None,
    ) -> Ticket:
        resources = spec.resources
        job = base if number is None else f"{base}_{number}"
        return Ticket(
            id=job,
            name=spec.name if number is None else task_name(spec.name, number),
            user=user,
            uid=account.uid if account else os.getuid(),
            order=0,
            cpus=resources.cpus,
            memory=resources.memory,
            gpus=resources.gpus,
            workdir=spec.workdir,
            output=None if spec.output is None else _expand(spec.output, job),
            time_limit=_seconds(resources.time_limit),
            warn_before=_seconds(spec.warn_before),
            kill_wait=self._settings.kill_wait.total_seconds(),
            account=account,
        )

    def _identity(self, user: str) -> tuple[Account | None, dict[str, str]]:
        """Return whom a job of ``user`` runs as, and such an account's environment."""
        switch = self._settings.switch_user and os.getuid() == 0
        try:
            entry = (
                find_person(user, self._settings.lowest_uid)
                if switch
                else pwd.getpwuid(os.getuid())
            )
        except NoPerson as error:
            raise NotPermitted(f"{error} It may run no jobs.") from error
        except KeyError as error:
            raise NotPermitted("There is no account for our own uid here.") from error
        account = None
        if switch:
            groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
            account = Account(entry.pw_uid, entry.pw_gid, tuple(groups))
        return account, {
            "HOME": entry.pw_dir,
            "USER": entry.pw_name,
            "LOGNAME": entry.pw_name,
            "SHELL": entry.pw_shell or "/bin/sh",
            "PATH": _PATH if switch else os.environ.get("PATH", _PATH),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
        }

    async def status(self, jobs: Collection[BatchJob]) -> Mapping[BatchJob, JobStatus]:
        """Read all ``jobs`` from the queue's files and the processes that live."""
        known = await self._read({job.id for job in jobs})
        unknown = JobStatus(JobState.UNKNOWN, read_at=datetime.now(UTC))
        answer = {}
        for job in jobs:
            ticket, status = known.get(job.id, (None, unknown))
            ours = ticket is not None and ticket.name == job.name
            answer[job] = status if ours else unknown
        return answer

    async def cancel(self, job: BatchJob) -> None:
        """Take ``job`` out of the queue, or tell its supervisor to end it."""
        if (error := (await self.cancel_many([job]))[job]) is not None:
            raise error

    async def cancel_many(
        self, jobs: Collection[BatchJob]
    ) -> Mapping[BatchJob, BatchError | None]:
        """Take ``jobs`` out of the queue, or tell their supervisors to end them."""
        names = {job.id: job.name for job in jobs}
        try:
            await self._do(lambda queue: queue.cancel(names))
        except SchedulerUnavailable as error:
            return dict.fromkeys(jobs, error)
        self._wake.set()
        return dict.fromkeys(jobs)

    async def find(self, name: str, *, user: str) -> tuple[BatchJob, ...]:
        """Return the jobs of ``user`` that were submitted under ``name``."""
        known = await self._read()
        return tuple(
            _job(ticket)
            for ticket, _ in known.values()
            if name in (ticket.name, submitted_name(ticket.name))
            and ticket.user == user
        )

    async def check(self, resources: Resources, *, user: str) -> None:
        """Refuse what this machine can never give."""
        total = (await self._do(lambda queue: queue)).total
        if resources.partition not in (None, PARTITION):
            raise SubmitRejected(
                f"There is no partition {resources.partition} here.",
                hint=f"This machine is one partition: {PARTITION}.",
                field="partition",
            )
        for field in ("account", "qos", "reservation", "constraint"):
            if getattr(resources, field) is not None:
                raise SubmitRejected(
                    f"This machine knows no {field}.",
                    hint=f"Leave {field} empty.",
                    field=field,
                )
        if resources.nodes > 1:
            raise _too_much("nodes", "1 node")
        if resources.cpus > total.cpus:
            raise _too_much("cpus", count_in_words(total.cpus, "CPU"))
        if (resources.memory or 0) > total.memory:
            raise _too_much("memory", size_in_words(total.memory, "down"))
        if resources.gpus > len(total.gpus):
            raise _too_much("gpus", count_in_words(len(total.gpus), "GPU"))
        if resources.gpu_model not in (None, self._gpu_model):
            raise SubmitRejected(
                f"There is no GPU {resources.gpu_model} here.",
                hint=f"This machine has {self._gpu_model}.",
                field="gpu_model",
            )
        await asyncio.to_thread(self._identity, user)

    async def snapshot(self) -> ClusterSnapshot:
        """Return this machine as one partition with its slots."""
        queue = await self._do(lambda queue: queue)
        free, total = await self._do(LocalQueue.free), queue.total
        pools: tuple[GpuPool, ...] = ()
        if total.gpus:
            gpus = len(total.gpus)
            pools = (GpuPool(self._gpu_model, gpus, len(free.gpus), gpus),)
        partition = Partition(
            name=PARTITION,
            default=True,
            nodes=1,
            idle_nodes=int(free == total),
            cpus=total.cpus,
            idle_cpus=max(0, free.cpus),
            max_cpus_per_node=total.cpus,
            max_memory_per_node=total.memory,
            max_nodes=1,
            gpus=pools,
        )
        node = socket.gethostname()
        return ClusterSnapshot(datetime.now(UTC), (partition,), {node: "127.0.0.1"})

    async def limits(self, user: str) -> UserLimits:
        """Return that nothing is limited beyond the machine itself."""
        return UserLimits(accounts={})

    async def estimate(self, spec: JobSpec, *, user: str) -> datetime | None:
        """Guess when ``spec`` would start; ``None`` behind jobs without a limit."""
        ticket = self._ticket(spec, user, None, "estimate", None)
        starts = await self._do(lambda queue: queue.expected_starts(extra=ticket))
        return starts.get(ticket.id)

    async def read_output(
        self, job: BatchJob, path: str, *, max_bytes: int = 16_384
    ) -> str:
        """Return the end of the job's output file, read as its user."""
        path = _expand(path, job.id)
        account, environment = await asyncio.to_thread(self._identity, job.user)

        def read() -> bytes:
            if account is None or account.uid == os.getuid():
                return read_tail(path, max_bytes)
            reader = [sys.executable, "-I", "-m", "spawners.batch.local.files"]
            return subprocess.run(
                [*reader, path, str(max_bytes)],
                user=account.uid,
                group=account.gid,
                extra_groups=account.groups,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=10,
                check=False,
            ).stdout

        try:
            data = await asyncio.to_thread(read)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SchedulerUnavailable(f"The output cannot be read: {error}.") from None
        return data.decode("utf-8", "replace")

    async def shutdown(self, *, patience: timedelta = timedelta(seconds=30)) -> None:
        """End all jobs and wait until they are gone, then close.

        For a gateway that a person runs in a terminal and now stops for good.
        """
        deadline = time.monotonic() + patience.total_seconds()
        while time.monotonic() < deadline:
            known = await self._do(lambda queue: queue.statuses(()))
            live = [t for t, status in known.values() if not status.state.ended]
            if not live:
                break
            await self.cancel_many([_job(ticket) for ticket in reversed(live)])
            await asyncio.sleep(_FULL_PAUSE_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Stop starting jobs; those that run go on, those that wait are kept."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            self._pump = None
        await asyncio.to_thread(self._thread.shutdown)

    # The queue's thread, and the task that starts what waits

    async def _do(self, action: Callable[[LocalQueue], Answer]) -> Answer:
        def run() -> Answer:
            if self._queue is None:
                self._queue = self._open()
            return action(self._queue)

        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, run)
        except OSError as error:
            raise SchedulerUnavailable(
                f"The local queue cannot be used: {error}.",
                hint=f"Is there space in {self._settings.directory}, and may we write?",
            ) from error

    def _open(self) -> LocalQueue:
        settings = self._settings
        models = [] if settings.gpus is not None else list_gpus()
        gpus = len(models) if settings.gpus is None else settings.gpus
        self._gpu_model = settings.gpu_model or next(iter(models), "gpu")
        memory = settings.memory
        if memory is None:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        cpus = settings.cpus or 4 * (os.cpu_count() or 1)
        directory = settings.directory.absolute()
        keeping = Keeping(settings.keep.total_seconds(), settings.keep_jobs)
        slots = Slots(cpus, memory, tuple(range(gpus)))
        return LocalQueue(directory, slots, keeping)

    async def _read(
        self, jobs: Collection[str] | None = None
    ) -> Mapping[str, tuple[Ticket, JobStatus]]:
        known = await self._do(lambda queue: queue.statuses(jobs))
        if any(status.state.queued for _, status in known.values()):
            self._start_waiting()
        return known

    def _start_waiting(self) -> None:
        self._wake.set()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._start_jobs(), name="local-queue")

    async def _start_jobs(self) -> None:
        while True:
            self._wake.clear()
            pause = _FULL_PAUSE_SECONDS
            try:
                step = await self._do(LocalQueue.start_next)
                if step is Step.EMPTY and not self._wake.is_set():
                    return
                if step is Step.STARTED:
                    continue
            except (SchedulerUnavailable, subprocess.SubprocessError) as error:
                log.warning("Cannot start jobs that wait: %s", error)
                pause = _FAILED_PAUSE_SECONDS
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                continue


def _job(ticket: Ticket) -> BatchJob:
    submitted = datetime.fromtimestamp(ticket.order // 10**9, UTC)
    return BatchJob(ticket.id, ticket.name, ticket.user, ticket.uid, submitted)


def _expand(path: str, job: str) -> str:
    base, _, number = job.partition("_")
    values = {"j": job, "A": base, "a": number or "0", "%": "%"}
    return re.sub(r"%([jAa%])", lambda match: values[match[1]], path)


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _too_much(field: str, most: str) -> SubmitRejected:
    return SubmitRejected(
        f"This machine has at most {most}.", hint="Ask for less.", field=field
    )
