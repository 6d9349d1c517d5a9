"""What jobs used, as it is told and read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.jobs.usage import UsageLedger
from spawners.batch.errors import InvalidSpec, LimitReached
from spawners.batch.jobs.record import JobRecord, Phase
from spawners.batch.jobs.store import JobStore
from spawners.batch.jobs.usage import JobUsage, UsageReport, hours_of
from spawners.batch.jobs.wire import dump, read
from spawners.batch.models import BatchJob, JobState, JobStatus, Resources, new_job_name

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
GIB = 1024**3


def usage(**changes):
    values = {
        "name": new_job_name(),
        "job_id": "12",
        "title": "python3",
        "started": NOW - 2 * HOUR,
        "until": NOW - HOUR,
        "ended": False,
        "cpus": 4,
        "gpus": 2,
        "memory": 8 * GIB,
    }
    return JobUsage(**{**values, **changes})


@pytest.fixture
async def ledger(tmp_path):
    store = await JobStore.open(f"sqlite:///{tmp_path}/jobs.sqlite")
    yield UsageLedger(store)
    await store.close()


async def test_a_job_is_counted_once_however_often_it_is_told(ledger):
    job = usage()
    await ledger.report("ann", [job])
    later = replace(job, until=NOW, ended=True)
    await ledger.report("ann", [later])
    await ledger.report("ann", [job])
    (used,) = await ledger.read("ann", NOW - timedelta(days=1))
    assert used.usage.ended
    assert hours_of([used]) == {
        "cpu_hours": pytest.approx(8, rel=1e-3),
        "gpu_hours": pytest.approx(4, rel=1e-3),
        "memory_gib_hours": pytest.approx(16, rel=1e-3),
    }


async def test_nobody_writes_into_anothers_account(ledger):
    job = usage()
    await ledger.report("ann", [job])
    await ledger.report("bob", [replace(job, gpus=0)])
    (anns,) = await ledger.read("ann", NOW - timedelta(days=1))
    assert anns.usage.gpus == 2
    assert {used.user for used in await ledger.read(None, NOW - timedelta(days=1))} == {
        "ann",
        "bob",
    }


async def test_times_that_cannot_be_are_cut_or_left_out(ledger):
    await ledger.report(
        "ann",
        [
            usage(until=NOW + timedelta(days=300)),
            usage(started=NOW + HOUR, until=NOW + 2 * HOUR),
            usage(started=NOW - timedelta(days=900)),
        ],
    )
    (used,) = await ledger.read("ann", NOW - timedelta(days=1))
    assert used.usage.until <= datetime.now(UTC)


async def test_kernels_count_to_the_end_of_the_server_that_ran_them(ledger):
    end = NOW - timedelta(minutes=30)
    told = {
        "untold": usage(until=end - timedelta(minutes=2)),
        "long before": usage(until=end - timedelta(minutes=9)),
        "ended": usage(until=end - timedelta(minutes=1), ended=True),
        "kept": usage(until=end + timedelta(minutes=5)),
    }
    await ledger.report("ann", list(told.values()))
    others = usage(until=end - timedelta(minutes=2))
    await ledger.report("bob", [others])
    name = new_job_name()
    record = JobRecord(
        name=name,
        owner="server:ann/",
        generation=1,
        user="ann",
        phase=Phase.ENDED,
        resources=Resources(cpus=1),
        job=BatchJob("7", name, "ann"),
        status=JobStatus(JobState.CANCELLED, started=NOW - 3 * HOUR, ended=end),
        created=NOW - 3 * HOUR,
        updated=NOW,
    )
    await ledger._store.insert_all([record])
    await ledger.take_records()
    found = {
        used.usage.name: used.usage.until
        for used in await ledger.read(None, NOW - timedelta(days=1))
    }
    assert found[name] == end
    assert found[told["untold"].name] == end
    for same in ("long before", "ended", "kept"):
        assert found[told[same].name] == told[same].until, same
    assert found[others.name] == others.until


def server_record(name: str, **changes) -> JobRecord:
    record = JobRecord(
        name=name,
        owner="server:ann/",
        generation=1,
        user="ann",
        phase=Phase.SUBMITTED,
        resources=Resources(cpus=4),
        job=BatchJob("7", name, "ann"),
        status=JobStatus(JobState.RUNNING, started=NOW - 2 * HOUR),
        created=NOW - 3 * HOUR,
        updated=NOW,
    )
    return replace(record, **changes)


async def test_nobody_erases_a_server_by_reporting_its_name(ledger):
    name = new_job_name()
    await ledger._store.insert_all([server_record(name)])
    nothing = usage(name=name, cpus=0, gpus=0, memory=0, title="nothing")
    for user in ("ann", "bob"):
        with pytest.raises(InvalidSpec):
            await ledger.report(user, [usage(), nothing])
    await ledger.take_records()
    with pytest.raises(InvalidSpec):
        await ledger.report("ann", [replace(nothing, ended=True)])
    (used,) = await ledger.read("ann", NOW - timedelta(days=1))
    assert (used.kind, used.usage.cpus) == ("server", 4)
    since = (datetime.now(UTC) - NOW) / HOUR  # a slow run of the tests
    assert used.hours == pytest.approx(2 + since, rel=0.01)


async def test_what_the_hub_knows_overwrites_an_earlier_claim(ledger):
    """As after an attack on a gateway that still believed it."""
    name = new_job_name()
    await ledger.report("ann", [usage(name=name, cpus=0, gpus=0, until=NOW)])
    await ledger._store.insert_all([server_record(name)])
    await ledger.take_records()
    (used,) = await ledger.read("ann", NOW - timedelta(days=1))
    assert (used.kind, used.usage.cpus, used.usage.title) == ("server", 4, "")


async def test_what_a_job_used_stays_though_its_record_goes(ledger):
    name = new_job_name()
    record = server_record(
        name,
        owner="kernel:ann/1/2",
        facts={"title": "python3"},
        phase=Phase.ENDED,
        status=JobStatus(JobState.COMPLETED, started=NOW - 2 * HOUR, ended=NOW - HOUR),
    )
    await ledger._store.insert_all([record])
    await ledger._store.delete([name])
    (used,) = await ledger.read("ann", NOW - timedelta(days=1))
    assert (used.kind, used.usage.title, used.usage.ended) == (
        "kernel",
        "python3",
        True,
    )
    assert used.hours == pytest.approx(1)


async def test_a_flood_is_refused(ledger, monkeypatch):
    monkeypatch.setattr("services.jobs.usage._MOST_ROWS", 3)
    await ledger.report("ann", [usage(), usage(), usage()])
    with pytest.raises(LimitReached):
        await ledger.report("ann", [usage()])


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a\nb"},
        {"job_id": "1; id"},
        {"title": "é\n"},
        {"cpus": -1},
        {"memory": 2**70},
        {"started": "2026-01-01T00:00:00"},
        {"user": "bob"},
    ],
    ids=str,
)
def test_a_malformed_report_is_refused(change):
    values = {**json.loads(dump(usage())), **change}
    with pytest.raises(InvalidSpec):
        read(UsageReport, json.dumps({"jobs": [values]}))


def test_a_report_is_read_as_it_was_written():
    report = UsageReport((usage(), usage(title="python 3", ended=True)))
    assert read(UsageReport, dump(report)) == report
