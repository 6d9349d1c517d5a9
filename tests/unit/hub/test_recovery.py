"""What a new hub makes of the rows that an earlier one left."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import jupyterhub.apihandlers
import pytest
from batchspawner.api import BatchSpawnerAPIHandler

import spawners.notebooks.spawner  # noqa: F401 -- its import is what is tested
from hub.recovery import Verdict, judge
from spawners.batch.jobs.record import JobRecord, Phase
from spawners.batch.models import Resources

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIVE = JobRecord(
    name="lb-a",
    owner="server:ann/",
    generation=1,
    user="ann",
    phase=Phase.SUBMITTED,
    resources=Resources(),
    created=BEGAN + timedelta(seconds=1),
    updated=BEGAN,
)
ENDED = replace(LIVE, phase=Phase.ENDED)
OLD = replace(ENDED, created=BEGAN - timedelta(days=1))
UNWANTED = replace(LIVE, cancel_wanted=BEGAN)


def row(ip: str) -> Any:
    return SimpleNamespace(
        server=SimpleNamespace(ip=ip), started=BEGAN.replace(tzinfo=None)
    )


@pytest.mark.parametrize(
    ("ip", "record", "verdict"),
    [
        ("", LIVE, Verdict.RESUME),
        ("", None, Verdict.RESUME),
        ("", OLD, Verdict.RESUME),
        ("", ENDED, Verdict.LEAVE),
        ("", UNWANTED, Verdict.DROP),
        ("lb-a.landbridge.internal", LIVE, Verdict.LEAVE),
        ("lb-a.landbridge.internal", ENDED, Verdict.LEAVE),
        ("lb-a.landbridge.internal", UNWANTED, Verdict.DROP),
        ("lb-a.landbridge.internal", None, Verdict.LEAVE),
    ],
)
def test_a_row_is_resumed_left_or_dropped(
    ip: str, record: JobRecord | None, verdict: Verdict
) -> None:
    assert judge(row(ip), record) is verdict


def test_batchspawners_own_callback_is_not_registered() -> None:
    handlers = [route[1] for route in jupyterhub.apihandlers.default_handlers]
    assert BatchSpawnerAPIHandler not in handlers
