"""Long work over REST: begun, followed and cancelled."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import Field

from services.common.background.tasks import Phase, Task
from services.common.web.errors import BadRequest
from services.common.web.paging import PageAnswer, PageQuery
from services.common.web.routes import Call, Model

from ..access.rights import require
from ..db.rows import NAMED
from ..s3.values import Grant, Mode
from ..service import Storage
from ..work.transfers import Order
from .fields import BucketName, Prefix
from .objects import Selection


class NewTask(Model):
    """Long work on a selection.

    A key `K` that lies under a selected prefix `a/b/` goes to `TARGET_PREFIX` +
    `b/...`; a selected key to `TARGET_PREFIX` + its last part. `delete` has no target.
    """

    kind: Literal["copy", "move", "delete"]
    """What is done."""
    source: Selection
    """To what."""
    bucket: BucketName | None = Field(None, description="Where to.")
    prefix: Prefix = Field("", description="The new prefix there.")
    name: Prefix | None = Field(
        None, description="For one key or prefix: its new last part (rename)."
    )
    overwrite: bool = Field(default=False, description="Replace what is there.")


class TaskAnswer(Model):
    """A piece of long work and how far it is."""

    id: str
    """Names it."""
    kind: str
    """What is done."""
    phase: Phase
    """How far it is; `done`, `failed` and `cancelled` are its end."""
    facts: dict[str, object]
    """What it was asked to do."""
    created: datetime
    """When it was asked for."""
    updated: datetime
    """When it got on last."""
    done: int
    """Steps (objects) that are done."""
    total: int | None
    """Of how many; null: not known yet."""
    bytes_done: int
    """Bytes in the steps that are done."""
    failed: int
    """Steps that did not work."""
    failures: list[dict[str, str]]
    """The first fifty of these, with `key`, `code` and `message`."""
    cancel_wanted: bool
    """Whether somebody wants it to end."""
    message: str
    """Why it ended as it did, or what it waits for."""


class TaskList(PageAnswer):
    """A page of the caller's tasks."""

    tasks: list[TaskAnswer]
    """The newest first."""


def _task(task: Task) -> TaskAnswer:
    values = {name: getattr(task, name) for name in TaskAnswer.model_fields}
    facts = {k: v for k, v in task.facts.items() if k not in ("user", "groups")}
    failures = [dict(failure) for failure in task.failures]
    return TaskAnswer(**values | {"facts": facts, "failures": failures})


async def begin_task(storage: Storage, call: Call, body: NewTask) -> TaskAnswer:
    """Begin to copy, move or delete a selection."""
    caller = call.caller
    if not (body.source.keys or body.source.prefixes):
        raise BadRequest("Nothing is selected.", field="body.source")
    if (body.kind == "delete") != (body.bucket is None):
        raise BadRequest("Copy and move need a bucket to go to.", field="body.bucket")
    if body.name is not None and len(body.source.keys) + len(body.source.prefixes) != 1:
        raise BadRequest("Only one thing can be given a name.", field="body.name")
    order = Order(
        user=caller.name,
        source=body.source.bucket,
        keys=body.source.keys,
        prefixes=body.source.prefixes,
        target=body.bucket or "",
        prefix=body.prefix,
        name=body.name,
        overwrite=body.overwrite,
    )
    rights = await storage.rights(caller.name, sorted(caller.groups))
    needed = Mode.READ if body.kind == "copy" else Mode.READ_WRITE
    for start in (*order.keys, *order.prefixes):
        require(rights, Grant(order.source, start, needed))
        storage.connection.keys.check_own(start)
    if body.bucket is not None:
        right = require(rights, Grant(body.bucket, body.prefix, Mode.READ_WRITE))
        await storage.ensure(right)
        _check_target(order)
    task = await storage.tasks.begin(body.kind, caller.name, asdict(order))
    await storage.rows.note(
        caller.name,
        body.kind,
        order.source,
        id=task.id,
        to=order.target,
        prefix=order.prefix,
        keys=len(order.keys),
        prefixes=len(order.prefixes),
        first=(*order.prefixes, *order.keys)[:NAMED],
    )
    return _task(task)


def _check_target(order: Order) -> None:
    """Refuse to copy something into itself, which would never end."""
    if order.source != order.target:
        return
    for prefix in order.prefixes:
        if order.destination(prefix, prefix).startswith(prefix):
            raise BadRequest("A folder cannot go into itself.", field="body.prefix")
    for key in order.keys:
        if order.destination(key, None) == key:
            raise BadRequest("An object is there already.", field="body.prefix")


async def list_tasks(storage: Storage, call: Call, query: PageQuery) -> TaskList:
    """The caller's tasks, the newest first."""
    page = await storage.tasks.page(call.caller.name, query)
    return TaskList(tasks=page.of(_task), next=page.next)


async def show_task(storage: Storage, call: Call) -> TaskAnswer:
    """How far one of the caller's tasks is."""
    return _task(await storage.tasks.get(call.path["id"], call.caller.name))


async def cancel_task(storage: Storage, call: Call) -> TaskAnswer:
    """End one of the caller's tasks at its next step."""
    return _task(await storage.tasks.cancel(call.path["id"], call.caller.name))
