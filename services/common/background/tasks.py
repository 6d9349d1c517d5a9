"""Long work for a user: begun by a call, goes on by itself, survives a crash.

A *task* of some kind (copy a prefix, move it, delete it) is a row before it is
anything else. While it runs it writes down how far it is (``cursor``, counts), and a
service that starts again takes up every task that had not ended, from there. A
kind's function therefore does the same step twice without harm. Each task ends in
one of three phases, and says which: done, failed (with reasons), cancelled.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from prometheus_client.core import Metric
from sqlalchemy.engine import Connection, RowMapping

from spawners.common.backoff import growing
from spawners.common.database import Database, UtcDateTime
from spawners.common.errors import DatabaseUnavailable

from ..web.errors import ErrorTable, NotThere, TooMany, explain
from ..web.metrics import gauge
from ..web.paging import Keyset, Page, PageQuery
from .turns import FairSlots

log = logging.getLogger(__name__)

_MOST_FAILURES = 50
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LONGEST_CANCEL_SECONDS = 5.0


class Phase(StrEnum):
    """How far a task is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self in (Phase.DONE, Phase.FAILED, Phase.CANCELLED)


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of long work, as it is stored.

    Attributes:
        id: random.
        kind: which function does it.
        user: whose it is.
        facts: what it was asked to do.
        cursor: where it is, in words of its kind; ``""`` at the start.
        done, total: steps (keys); ``total`` is ``None`` while it is not known.
        bytes_done: in the steps that are done.
        failures: steps that did not work, the first fifty, with their reason.
        failed: how many did not work.
        cancel_wanted: somebody wants it to end.
        message: why it ended as it did, or what it waits for.
    """

    id: str
    kind: str
    user: str
    facts: Mapping[str, Any]
    phase: Phase
    created: datetime
    updated: datetime
    cursor: str = ""
    done: int = 0
    total: int | None = None
    bytes_done: int = 0
    failures: tuple[Mapping[str, str], ...] = ()
    failed: int = 0
    cancel_wanted: bool = False
    message: str = ""


def tasks_table(name: str, metadata: sa.MetaData) -> sa.Table:
    """Return the table of a service's tasks."""
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("user", sa.String(255), nullable=False, index=True),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("phase", sa.String(16), nullable=False, index=True),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("updated", UtcDateTime, nullable=False),
        sa.Column("cursor", sa.Text, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger),
        sa.Column("bytes_done", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Text, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("cancel_wanted", sa.Boolean, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )


class CancelWanted(Exception):
    """Ends a task's function at its next step."""


class Progress:
    """What a kind's function works with: its task, and how to say how far it is."""

    def __init__(self, task: Task, save: Callable[[Task], Awaitable[None]]) -> None:
        self.task = task
        self.cancel_wanted = task.cancel_wanted
        self._save = save

    async def advance(
        self,
        *,
        cursor: str | None = None,
        done: int = 0,
        bytes_done: int = 0,
        total: int | None = None,
        failures: tuple[Mapping[str, str], ...] = (),
        message: str = "",
    ) -> None:
        """Write down a step, durably; ``done`` and ``bytes_done`` are added.

        ``message`` says what it waits for, until the next step.

        Raises:
            CancelWanted: the task is to end here.
        """
        task = self.task
        kept = (*task.failures, *failures)[:_MOST_FAILURES]
        self.task = replace(
            task,
            cursor=task.cursor if cursor is None else cursor,
            done=task.done + done,
            bytes_done=task.bytes_done + bytes_done,
            total=task.total if total is None else total,
            failures=kept,
            failed=task.failed + len(failures),
            message=message,
            updated=datetime.now(UTC),
        )
        await self._save(self.task)
        if self.cancel_wanted:
            raise CancelWanted


Kind = Callable[[Progress], Awaitable[None]]


class Tasks:
    """All tasks of a service.

    Args:
        database: holds ``table``.
        table: made by :func:`tasks_table`.
        kinds: the function of each kind.
        errors: whose texts users may read.
        at_once: how many run, half of them for one user; others wait their turn.
        per_user: how many a user may have that are not over.
    """

    def __init__(
        self,
        database: Database,
        table: sa.Table,
        kinds: Mapping[str, Kind],
        *,
        errors: ErrorTable,
        at_once: int = 4,
        per_user: int = 20,
    ) -> None:
        self._database = database
        self._table = table
        self._kinds = kinds
        self._errors = errors
        self._turns = FairSlots(at_once, max(1, at_once // 2))
        self._per_user = per_user
        self._running: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, Progress] = {}

    async def start(self) -> None:
        """Take up every task that a former process left."""
        t = self._table
        phases = [Phase.WAITING.value, Phase.RUNNING.value]
        query = sa.select(t).where(t.c.phase.in_(phases)).order_by(t.c.created)
        for task in await self._select(query):
            log.info("Taking up task %s (%s) of %s", task.id, task.kind, task.user)
            self._launch(task)

    async def close(self) -> None:
        """Stop working; what has not ended is taken up by the next process."""
        running = list(self._running.values())
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def numbers(self) -> list[Metric]:
        """Return how many tasks run and wait, for Prometheus."""
        counts = {"running": self._turns.going, "waiting": self._turns.waiting}
        return [gauge("tasks", "Tasks that are not over.", counts, "phase")]

    async def begin(self, kind: str, user: str, facts: Mapping[str, Any]) -> Task:
        """Write a task down and begin it.

        Raises:
            TooMany: the user has too many that are not over.
        """
        now = datetime.now(UTC)
        task = Task(secrets.token_hex(12), kind, user, facts, Phase.WAITING, now, now)
        t = self._table

        def insert(connection: Connection) -> bool:
            phases = [Phase.WAITING.value, Phase.RUNNING.value]
            count = sa.select(sa.func.count()).where(
                t.c.user == user, t.c.phase.in_(phases)
            )
            if (connection.scalar(count) or 0) >= self._per_user:
                return False
            connection.execute(sa.insert(t), [_to_row(task)])
            return True

        if not await self._database.run(insert):
            raise TooMany(
                f"You have {self._per_user} tasks under way.",
                hint="Wait for one to end, or cancel one.",
            )
        self._launch(task)
        return task

    async def get(self, task_id: str, user: str) -> Task:
        """Return a task of ``user``.

        Raises:
            NotThere: there is none with this id, or it is somebody else's.
        """
        t = self._table
        rows = await self._select(
            sa.select(t).where(t.c.id == task_id, t.c.user == user)
        )
        if not rows:
            raise NotThere("You have no such task.")
        return rows[0]

    async def page(self, user: str, asked: PageQuery) -> Page[Task]:
        """Return a page of a user's tasks, the newest first.

        Raises:
            BadRequest: it is no page of theirs.
        """
        t = self._table
        tasks = Keyset("tasks", (t.c.created, t.c.id), _from_row)
        query = sa.select(t).where(t.c.user == user)
        return await self._database.read(tasks.page(query, asked))

    async def cancel(self, task_id: str, user: str) -> Task:
        """Note the wish that a task ends; one that waits ends at once.

        One that runs ends at its next step.

        Raises:
            NotThere: there is none with this id, or it is somebody else's.
        """
        task = await self.get(task_id, user)
        if task.phase.over:
            return task
        t = self._table
        change = sa.update(t).where(t.c.id == task_id).values(cancel_wanted=True)
        await self._database.run(lambda connection: connection.execute(change))
        progress = self._progress.get(task_id)
        if progress is not None:
            progress.cancel_wanted = True
        if self._turns.call_off(task_id, CancelWanted()):
            work = [self._running[task_id]]
            await asyncio.wait(work, timeout=_LONGEST_CANCEL_SECONDS)
        return await self.get(task_id, user)

    async def wait(self, task_id: str) -> None:
        """Return when a task does not run any more in this process."""
        work = self._running.get(task_id)
        if work is not None:
            await asyncio.wait([work])

    def _launch(self, task: Task) -> None:
        work = asyncio.create_task(self._run(task), name=f"task {task.id}")
        self._running[task.id] = work
        work.add_done_callback(lambda _: self._running.pop(task.id, None))

    async def _run(self, task: Task) -> None:
        progress = Progress(task, self._save)
        self._progress[task.id] = progress
        try:
            await self._work(progress)
            failed = progress.task.failed
            text = f"{failed} of {progress.task.done + failed} did not work."
            phase = Phase.FAILED if failed else Phase.DONE
            await self._end(progress.task, phase, text if failed else "")
        except CancelWanted:
            text = "Cancelled; what was done until then stays."
            await self._end(progress.task, Phase.CANCELLED, text)
        except Exception as error:
            problem = explain(error, self._errors)
            if problem is None:
                log.exception("Task %s (%s) failed", task.id, task.kind)
            text = problem.message if problem else "Something went wrong here."
            await self._end(progress.task, Phase.FAILED, text)
        finally:
            self._progress.pop(task.id, None)

    async def _work(self, progress: Progress) -> None:
        """Wait for a turn, and do it."""
        task = progress.task
        if task.cancel_wanted:  # of a former process
            raise CancelWanted
        async with self._turns.of(task.user, task.id):
            progress.task = replace(task, phase=Phase.RUNNING)
            await progress.advance()
            await self._kinds[task.kind](progress)

    async def _end(self, task: Task, phase: Phase, message: str) -> None:
        log.info("Task %s (%s) of %s: %s", task.id, task.kind, task.user, phase)
        for pause in growing(_FIRST_PAUSE, _LONGEST_PAUSE):
            now = datetime.now(UTC)
            ended = replace(task, phase=phase, message=message, updated=now)
            try:
                return await self._save(ended)
            except DatabaseUnavailable as error:
                # Else it would seem to run until the next start of the service.
                log.warning("Task %s cannot be ended yet: %s", task.id, error)
            await asyncio.sleep(pause)

    async def _save(self, task: Task) -> None:
        row = _to_row(task)
        row.pop("cancel_wanted")  # another call's to set
        change = sa.update(self._table).where(self._table.c.id == task.id).values(row)
        await self._database.run(lambda connection: connection.execute(change))

    async def _select(self, query: sa.Select[Any]) -> list[Task]:
        def work(connection: Connection) -> list[Task]:
            return [_from_row(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)


def _to_row(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "kind": task.kind,
        "user": task.user,
        "facts": json.dumps(dict(task.facts)),
        "phase": task.phase.value,
        "created": task.created,
        "updated": task.updated,
        "cursor": json.dumps(task.cursor),
        "done": task.done,
        "total": task.total,
        "bytes_done": task.bytes_done,
        "failures": json.dumps([dict(failure) for failure in task.failures]),
        "failed": task.failed,
        "cancel_wanted": task.cancel_wanted,
        "message": task.message,
    }


def _from_row(row: RowMapping) -> Task:
    values = dict(row)
    values["phase"] = Phase(values["phase"])
    values["facts"] = json.loads(values["facts"])
    values["cursor"] = json.loads(values["cursor"])
    values["failures"] = tuple(json.loads(values["failures"]))
    return Task(**values)
