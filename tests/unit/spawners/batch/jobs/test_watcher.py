"""The watcher is quick when something changes, quiet when not, and never in a hurry."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from spawners.batch.errors import SchedulerUnavailable
from spawners.batch.jobs import readings as readings_module
from spawners.batch.jobs.ledger import Ledger
from spawners.batch.jobs.readings import Readings
from spawners.batch.jobs.reconciler import closing as closing_module
from spawners.batch.jobs.reconciler.reconciler import Reconciler
from spawners.batch.jobs.record import JobRecord, Phase, utc_now
from spawners.batch.jobs.settings import Policy
from spawners.batch.jobs.store import JobStore
from spawners.batch.jobs.watcher import JobWatcher
from spawners.batch.models import BatchJob, JobState, JobStatus, Resources

MS = timedelta(milliseconds=1)


class Clock:
    """Time that passes only when told, for a loop that sleeps on it."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def record():
    job = BatchJob("1", "lb-a", "alice")
    return JobRecord(
        "lb-a",
        "server:alice/",
        1,
        "alice",
        Phase.SUBMITTED,
        Resources(),
        utc_now(),
        utc_now(),
        job=job,
    )


class Bench:
    """A watcher over one record, with its readings."""

    def __init__(self, scheduler, settings, record):
        self.records = [record]
        self.age = 0.0
        self.readings = []
        self.watcher = JobWatcher(
            scheduler,
            settings,
            wanted=lambda: list(self.records),
            urgency=lambda _: self.age,
            apply=self.apply,
        )

    async def apply(self, records, reading):
        self.readings.append(reading)

    def period(self):
        return self.watcher._period(self.records)


@pytest.fixture
async def bench(fake, quick, record):
    return Bench(fake, quick, record)


@pytest.fixture
async def running(bench):
    tasks = [
        asyncio.create_task(bench.watcher.run()),
        asyncio.create_task(bench.watcher.run_snapshots()),
    ]
    async with asyncio.timeout(15):
        yield bench
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition):
    while not condition():
        await asyncio.sleep(0.002)


# -- the period


async def test_the_period_follows_the_last_change(fake, record):
    bench = Bench(fake, Policy(), record)
    assert bench.period() == 1
    for age, period in ((5, 1), (50, 5), (150, 15), (10_000, 20)):
        bench.age = age
        assert bench.period() == period


async def test_the_youngest_job_sets_the_period(fake, record):
    bench = Bench(fake, Policy(), record)
    bench.records.append(replace(record, name="lb-b"))
    ages = {"lb-a": 10_000, "lb-b": 30}
    bench.watcher._urgency = lambda r: ages[r.name]
    assert bench.period() == 3


def test_a_steady_state_costs_at_most_six_commands_a_minute():
    settings = Policy()
    quickest = settings.slow * 0.9  # jitter
    listings = timedelta(minutes=1) / quickest
    snapshots = 2 * (timedelta(minutes=1) / settings.snapshot_age)
    assert listings + snapshots <= 6


async def test_a_slow_answer_earns_a_long_rest(bench, fake):
    bench.watcher._took = 2.0
    assert bench.watcher._rest() == 10.0
    bench.watcher._took = 100.0
    assert bench.watcher._rest() == 60.0


async def test_failures_earn_ever_longer_rests(bench, fake):
    rests = []
    for _ in range(8):
        fake.fail_next("status")
        await bench.watcher.tick()
        rests.append(bench.watcher._rest())
    assert rests == sorted(rests)
    assert rests[0] >= 0.2
    assert rests[-1] == 6.4
    await bench.watcher.tick()
    assert bench.watcher._rest() < 0.1


# -- ticks


async def test_one_listing_reads_all_jobs(bench, fake, record):
    bench.records += [
        replace(record, name=f"lb-{n}", job=BatchJob(str(n), f"lb-{n}", "alice"))
        for n in range(2, 500)
    ]
    await bench.watcher.tick()
    assert fake.calls["status"] == 1
    assert len(bench.readings[0]) == 499


async def test_a_failed_reading_is_applied_as_none(bench, fake):
    for error in (SchedulerUnavailable("x"), ZeroDivisionError()):
        fake.fail_next("status", error)
        await bench.watcher.tick()
        assert bench.readings[-1] is None
        assert not bench.watcher.healthy
        assert bench.watcher.problem
    await bench.watcher.tick()
    assert bench.watcher.healthy
    assert bench.watcher.problem == ""


async def test_two_listings_are_never_under_way(bench, fake):
    at_once = most = 0
    real = fake.status

    async def count(asked):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.005)
        at_once -= 1
        return await real(asked)

    fake.status = count
    await asyncio.gather(*(bench.watcher.tick() for _ in range(10)))
    assert most == 1


async def test_nothing_is_asked_for_nobody(running, fake):
    running.records.clear()
    running.watcher.nudge()
    await asyncio.sleep(0.1)
    asked = fake.calls["status"]
    await asyncio.sleep(0.1)
    assert fake.calls["status"] == asked
    assert fake.calls["snapshot"] == 0


async def test_a_nudge_is_followed_by_a_reading(running, fake):
    running.age = 1e9
    await until(lambda: running.readings)
    count = len(running.readings)
    running.watcher._policy = replace(running.watcher._policy, slow=60_000 * MS)
    await until(lambda: len(running.readings) > count)
    count = len(running.readings)
    running.watcher.nudge()
    await until(lambda: len(running.readings) > count)


async def test_a_first_job_wakes_an_idle_watcher(running, fake, record):
    running.records.clear()
    await asyncio.sleep(0.02)
    running.records.append(record)
    running.watcher.nudge()
    await until(lambda: running.readings)


async def test_many_nudges_are_one_reading(running, fake):
    running.watcher._policy = replace(
        running.watcher._policy, rest=50 * MS, fast=60_000 * MS, slow=60_000 * MS
    )
    for _ in range(30):
        running.watcher.nudge()
        await asyncio.sleep(0.002)
    assert fake.calls["status"] <= 4


async def test_nudges_do_not_wake_a_controller_that_is_away(running, fake):
    fake.fail_next("status", times=1000)
    await until(lambda: not running.watcher.healthy)
    asked = fake.calls["status"]
    for _ in range(50):
        running.watcher.nudge()
        await asyncio.sleep(0.002)
    assert fake.calls["status"] <= asked + 1


async def test_a_process_that_was_stopped_asks_once(running, fake, monkeypatch):
    running.watcher._policy = replace(
        running.watcher._policy, fast=40 * MS, slow=40 * MS
    )
    await until(lambda: running.readings)
    before = fake.calls["status"]
    await _stop_the_loop(0.5)
    await asyncio.sleep(0.03)
    assert fake.calls["status"] - before <= 2


async def _stop_the_loop(seconds):
    import time

    time.sleep(seconds)


# -- the snapshot


async def test_a_snapshot_is_made_when_somebody_reads_it(running, fake):
    assert running.watcher.snapshot is None
    await until(lambda: running.watcher.snapshot is not None)
    first = running.watcher.snapshot
    assert running.watcher.snapshot is first
    assert fake.calls["snapshot"] == 1
    assert running.watcher.snapshot_age < 5


async def test_an_old_snapshot_is_shown_while_a_new_one_is_made(running, fake):
    running.watcher._policy = replace(running.watcher._policy, snapshot_age=20 * MS)
    first = await running.watcher.fresh_snapshot(1)
    await asyncio.sleep(0.05)
    assert fake.calls["snapshot"] == 1
    assert running.watcher.snapshot is first
    await until(lambda: running.watcher.snapshot is not first)
    assert fake.calls["snapshot"] >= 2


async def test_the_last_good_snapshot_is_kept(running, fake):
    first = await running.watcher.fresh_snapshot(1)
    running.watcher._policy = replace(
        running.watcher._policy, snapshot_age=timedelta(0)
    )
    fake.fail_next("snapshot", times=1)
    assert running.watcher.snapshot is first
    await until(lambda: fake.calls["snapshot"] == 2)
    assert running.watcher.snapshot is first


async def test_a_fresh_snapshot_is_waited_for(running, fake):
    one, two = await asyncio.gather(
        running.watcher.fresh_snapshot(10), running.watcher.fresh_snapshot(10)
    )
    assert one is two
    assert fake.calls["snapshot"] == 1


# -- readings


@pytest.fixture
async def ledger(store_url, record):
    store = await JobStore.open(store_url)
    ledger = Ledger(store)
    await ledger.insert_all([record])
    yield ledger
    await store.close()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(readings_module.time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
async def reconciler(fake, ledger):
    reconciler = Reconciler(fake, ledger, Policy(), lambda: None)
    running = asyncio.create_task(reconciler.run())
    yield reconciler
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await reconciler.close()


@pytest.fixture
def readings(ledger, reconciler):
    return Readings(ledger, reconciler, Policy())


def pending(place, estimate=None):
    return JobStatus(
        JobState.PENDING, "Priority", queue_place=place, estimated_start=estimate
    )


async def test_hours_in_the_queue_are_told_in_some_dozen_lines(
    readings, ledger, record, clock
):
    for tick in range(8 * 180):  # eight hours of a tick every 20 s
        place = 2000 - tick
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=tick)
        (current,) = ledger.records()
        await readings.apply([current], {record.job: pending(place, start)})
        clock.now += 20
    count = ledger.saved_seq(record.name)
    assert 20 < count < 150
    assert ledger.get(record.name).status.queue_place == 2000 - tick


async def test_the_same_words_are_told_once(readings, ledger, record, clock):
    for _ in range(20):
        (current,) = ledger.records()
        await readings.apply([current], {record.job: pending(3)})
        clock.now += 60
    assert ledger.saved_seq(record.name) == 1


async def test_a_place_in_the_queue_is_not_written_at_each_tick(
    readings, ledger, record, clock
):
    writes = 0
    real = ledger.store.save

    async def count(changes):
        nonlocal writes
        writes += 1
        await real(changes)

    ledger.store.save = count
    for place in range(9, 0, -1):
        (current,) = ledger.records()
        await readings.apply([current], {record.job: pending(place)})
        clock.now += 1
    assert writes == 1
    assert ledger.get(record.name).status.queue_place == 1


async def test_two_absences_in_a_row_are_not_enough_without_time_between(
    readings, ledger, record, clock
):
    async def absent():
        (current,) = ledger.records()
        status = JobStatus(JobState.UNKNOWN, reason="absent")
        await readings.apply([current], {record.job: status})
        await asyncio.sleep(0)

    await absent()
    clock.now += 9
    await absent()
    assert ledger.get(record.name).live
    clock.now += 2
    await absent()
    await ledger.wait(record.name, lambda r: not r.live)
    assert ledger.get(record.name).status.state is JobState.LOST


async def test_a_good_reading_between_two_absences_counts(
    readings, ledger, record, clock
):
    status = JobStatus(JobState.UNKNOWN, reason="absent")
    for reading in (status, pending(1), status, pending(1), status):
        (current,) = ledger.records()
        await readings.apply([current], {record.job: reading})
        clock.now += 100
    assert ledger.get(record.name).live


async def test_a_failed_reading_between_two_absences_does_not_count(
    readings, ledger, record, clock
):
    status = JobStatus(JobState.UNKNOWN, reason="absent")
    for reading in ({record.job: status}, None, None, {}):
        (current,) = ledger.records()
        await readings.apply([current], reading)
        clock.now += 1000
    assert ledger.get(record.name).live


async def test_a_reading_of_another_identity_is_dropped(
    readings, ledger, record, clock
):
    stale = replace(record, job=BatchJob("1", "lb-a", "alice", 1001))
    await readings.apply([stale], {stale.job: JobStatus(JobState.FAILED)})
    assert ledger.get(record.name).live
    assert ledger.get(record.name).status.state is JobState.UNKNOWN


async def test_an_end_that_cannot_be_told_is_read_again(
    readings, ledger, record, clock, monkeypatch
):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(closing_module, "explain_end", broken)
    reading = {record.job: JobStatus(JobState.FAILED)}
    await readings.apply([record], reading)
    assert readings.wanted() == []
    while readings.wanted() != [ledger.get(record.name)]:
        await asyncio.sleep(0)  # the clock stands still
    monkeypatch.undo()
    await readings.apply(readings.wanted(), reading)
    await ledger.wait(record.name, lambda r: not r.live)
