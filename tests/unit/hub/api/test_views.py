"""The JSON of servers, starts and the cluster; the rest runs in integration."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hub.api.views import cluster_view, event_view, server_view
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.record import Address, JobEvent, JobRecord, Phase
from spawners.batch.models import BatchJob, JobState, JobStatus, Resources
from spawners.batch.scheduler import ClusterSnapshot, GpuPool, Partition, UserLimits

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RUNNING = JobStatus(
    JobState.RUNNING, nodes=("n1",), started=NOW, ends=NOW + timedelta(minutes=5)
)
RECORD = JobRecord(
    name="lb-a",
    owner="server:ann/",
    generation=2,
    user="account",
    phase=Phase.SUBMITTED,
    resources=Resources(cpus=2, gpus=1, time_limit=timedelta(hours=1)),
    created=NOW,
    updated=NOW,
    facts={"profile": "gpu"},
    job=BatchJob("7", "lb-a", "account"),
    status=RUNNING,
    status_is_current=True,
)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "starting"),
        ({"phase": Phase.INTENT, "status": JobStatus(JobState.UNKNOWN)}, "submitting"),
        ({"status": JobStatus(JobState.PENDING)}, "queued"),
        ({"address": Address("n1", "10.0.0.1", 5000)}, "ready"),
        ({"cancel_wanted": NOW}, "stopping"),
        ({"phase": Phase.REFUSED}, "failed"),
        ({"phase": Phase.ENDED, "failure": Failure("Out of memory")}, "failed"),
        ({"phase": Phase.ENDED}, "stopped"),
    ],
)
def test_a_server_has_one_word_for_its_state(
    change: dict[str, object], state: str
) -> None:
    assert server_view(replace(RECORD, **change), "", "/", NOW)["state"] == state


def test_a_server_is_told_with_job_and_time_left() -> None:
    view = server_view(RECORD, "", "/user/ann/", NOW)
    json.dumps(view)
    assert view["job"]["time_left"] == 300
    assert view["job"]["nodes"] == ["n1"]
    assert view["resources"] == {
        "cpus": 2,
        "gpus": 1,
        "nodes": 1,
        "time_limit": 3600,
    }
    assert view["profile"] == "gpu"


def test_an_unsure_reading_says_so() -> None:
    unsure = replace(RECORD, status_is_current=False)
    assert server_view(unsure, "", "/", NOW)["job"]["is_current"] is False


def test_an_event_is_plain_json() -> None:
    event = JobEvent("lb-a", 3, NOW, "queued", "Waiting", {"place": 2})
    assert json.loads(json.dumps(event_view(event)))["data"] == {"place": 2}


def test_the_cluster_is_told_with_its_age() -> None:
    snapshot = ClusterSnapshot(
        NOW - timedelta(seconds=40),
        (
            Partition("cpu", default=True, max_time=timedelta(hours=1)),
            Partition("gpu", gpus=(GpuPool("a100", 8, 3, 4),)),
        ),
        {},
    )
    limits = UserLimits({"proj": frozenset({"normal"})}, "proj", max_jobs=3)
    view = cluster_view(snapshot, limits, NOW, only=["gpu"])
    json.dumps(view)
    assert view["age"] == 40
    assert [partition["name"] for partition in view["partitions"]] == ["gpu"]
    assert view["partitions"][0]["gpus"][0]["idle"] == 3
    assert view["limits"]["accounts"] == {"proj": ["normal"]}
    assert cluster_view(None, None, NOW)["partitions"] is None
