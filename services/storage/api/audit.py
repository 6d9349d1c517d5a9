"""The audit log over REST: what the caller did, and what was done to her buckets."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from services.common.web.paging import PageAnswer, PageQuery
from services.common.web.routes import Call, Model

from ..db.rows import AuditEntry
from ..service import Storage


class AuditQuery(PageQuery):
    """A page of the audit log, newest first."""

    before: Annotated[int, Field(ge=0)] = 0
    """Only entries whose `id` is smaller; 0: all."""


class AuditFact(Model):
    """One thing that somebody did."""

    id: int
    """Grows with each entry; `before` takes it."""
    at: datetime
    """When."""
    actor: str
    """Who did it."""
    action: str
    """What was done, in one word."""
    bucket: str
    """To which bucket; empty if to none."""
    detail: str
    """More facts, as a JSON object in a text."""


class AuditList(PageAnswer):
    """What the caller did, and what others did to the caller's buckets."""

    entries: list[AuditFact]
    """The newest first."""


def _shown(entry: AuditEntry, user: str) -> str:
    """Return the facts of an entry that ``user`` may see.

    What somebody's keys are for may name a notebook, which is nobody else's business.
    """
    if entry.actor == user:
        return entry.detail
    facts: dict[str, object] = json.loads(entry.detail)
    facts.pop("purpose", None)
    return json.dumps(facts)


async def list_audit(storage: Storage, call: Call, query: AuditQuery) -> AuditList:
    """What the caller did, and what was done to the caller's buckets."""
    caller = call.caller
    rights = await storage.rights(caller.name, sorted(caller.groups))
    own = [right.bucket for right in rights if right.why == "own"]
    page = await storage.rows.audit(caller.name, own, query, before=query.before)
    return AuditList(
        entries=[
            AuditFact(
                id=entry.id,
                at=entry.at.astimezone(UTC),
                actor=entry.actor,
                action=entry.action,
                bucket=entry.bucket,
                detail=_shown(entry, caller.name),
            )
            for entry in page.entries
        ],
        next=page.next,
    )
