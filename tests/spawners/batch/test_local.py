import asyncio
import json
import os
import pwd
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spawners.batch.errors import NotPermitted, SubmitRejected
from spawners.batch.local import LocalScheduler, LocalSettings
from spawners.batch.local_files import Run, is_alive, process, read_record
from spawners.batch.local_gpus import gpu_model_name
from spawners.batch.models import (
    BatchJob,
    JobSpec,
    JobState,
    JobStatus,
    Resources,
    new_job_name,
)

SLEEP = "exec sleep 300"
PATIENCE = 20


class Rig:
    """A directory, its settings, and the schedulers that were opened on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = LocalSettings(
            directory=root / "queue", cpus=4, memory=2 * 1024**3, gpus=2,
            gpu_model="a100", kill_wait=timedelta(seconds=1),
        )  # fmt: skip
        self._opened: list[LocalScheduler] = []

    def open(self, **changes: object) -> LocalScheduler:
        scheduler = LocalScheduler(replace(self.settings, **changes))
        self._opened.append(scheduler)
        return scheduler

    def spec(self, body: str, **fields: object) -> JobSpec:
        resources = fields.pop("resources", Resources())
        return JobSpec(
            name=new_job_name(), script=f"#!/bin/bash\n{body}\n", resources=resources,
            workdir=str(self.root), output=str(self.root / "out-%j"), **fields,
        )  # fmt: skip

    def output(self, job: BatchJob) -> str:
        return (self.root / f"out-{job.id}").read_text()

    def directory(self, job: BatchJob) -> Path:
        return self.settings.directory / "jobs" / job.id

    def run(self, job: BatchJob) -> Run:
        run = read_record(self.directory(job) / "run.json", Run)
        assert run is not None
        return run

    async def close(self) -> None:
        last = self.open()
        await last.shutdown()
        for scheduler in self._opened:
            await scheduler.close()


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    await rig.close()


@pytest.fixture
def scheduler(rig):
    return rig.open()


async def submit(scheduler, spec: JobSpec, user: str = "alice") -> BatchJob:
    (job,) = await scheduler.submit(spec, user=user)
    return job


async def until(scheduler, job: BatchJob, wanted) -> JobStatus:
    """Return the first reading whose state is, or has, what is wanted."""
    deadline = time.monotonic() + PATIENCE
    while True:
        status = (await scheduler.status([job]))[job]
        if status.state is wanted or (wanted == "ended" and status.state.ended):
            return status
        assert time.monotonic() < deadline, f"still {status}"
        assert not status.state.ended, f"ended as {status}"
        await asyncio.sleep(0.05)


async def until_true(fact) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def readable(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# From start to end


async def test_a_job_runs_and_tells_its_exit_code(rig, scheduler):
    job = await submit(scheduler, rig.spec("echo hello; exit 3"))
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.FAILED
    assert status.reason == "NonZeroExitCode"
    assert status.exit_code == 3
    assert status.signal is None
    assert status.started is not None
    assert status.ended >= status.started
    assert rig.output(job) == "hello\n"
    output = str(rig.root / "out-%j")
    assert await scheduler.read_output(job, output) == "hello\n"
    assert await scheduler.read_output(job, output, max_bytes=3) == "lo\n"


async def test_a_job_that_succeeds_is_completed(rig, scheduler):
    job = await submit(scheduler, rig.spec("true"))
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.COMPLETED
    assert status.exit_code == 0


async def test_a_signal_that_ended_the_job_is_told(rig, scheduler):
    job = await submit(scheduler, rig.spec("kill -SEGV $$"))
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.FAILED
    assert status.signal == signal.SIGSEGV
    assert status.exit_code is None


async def test_a_job_has_only_its_own_environment(rig, scheduler, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HUB", "x")
    spec = rig.spec(
        "env; pwd", environment={"A": "b c\nd", "CANARY": "s3cret"},
        resources=Resources(gpus=1),
    )  # fmt: skip
    job = await submit(scheduler, spec)
    await until(scheduler, job, JobState.COMPLETED)
    output = rig.output(job)
    assert "SECRET_OF_THE_HUB" not in output
    assert "A=b c\nd\n" in output
    assert f"LANDBRIDGE_JOB_ID={job.id}" in output
    assert "CUDA_VISIBLE_DEVICES=0" in output
    assert f"HOME={pwd.getpwuid(os.getuid()).pw_dir}\n" in output
    assert output.endswith(f"{rig.root}\n")
    assert "SLURM" not in output


async def test_nothing_secret_is_left_on_disk_or_in_argv(rig, scheduler):
    spec = rig.spec("sleep 300", environment={"TOKEN": "canary-" + "x" * 20})
    job = await submit(scheduler, spec)
    await until(scheduler, job, JobState.RUNNING)
    await until_true(lambda: not (rig.directory(job) / "environment.json").exists())
    run = rig.run(job)
    for file in rig.settings.directory.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0 or file.is_dir()
        assert file.is_dir() or b"canary-" not in file.read_bytes()
    for pid in (run.supervisor, run.leader):
        assert b"canary-" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"canary-" not in Path(f"/proc/{run.supervisor}/environ").read_bytes()


async def test_the_script_is_not_readable_by_others_while_it_waits(rig, scheduler):
    await submit(scheduler, rig.spec(SLEEP, resources=Resources(cpus=4)))
    job = await submit(scheduler, rig.spec("true", environment={"A": "b"}))
    for name in ("script", "environment.json"):
        assert (rig.directory(job) / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"workdir": "/no/such"}, "workdir: No such file or directory"),
        ({"output": "/no/such/out"}, "output: No such file or directory"),
        ({"script": "#!/no/such/interpreter\n"}, "script: No such file or directory"),
    ],
)
async def test_a_start_that_is_not_possible_is_told(rig, scheduler, change, reason):
    job = await submit(scheduler, replace(rig.spec("true"), **change))
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.LAUNCH_FAILED
    assert status.reason == reason


async def test_an_array_is_as_many_jobs(rig, scheduler):
    spec = rig.spec("echo $LANDBRIDGE_JOB_ID", resources=Resources(array_size=3))
    spec = replace(spec, output=str(rig.root / "out-%A-%a"))
    jobs = await scheduler.submit(spec, user="alice")
    assert len(jobs) == 3
    for number, job in enumerate(jobs):
        await until(scheduler, job, JobState.COMPLETED)
        base, _, index = job.id.partition("_")
        assert index == str(number)
        assert (rig.root / f"out-{base}-{index}").read_text() == f"{job.id}\n"
    assert await scheduler.find(spec.name, user="alice") == jobs


async def test_fifty_quick_jobs_all_run_once_in_order(rig, scheduler):
    log = rig.root / "log"
    specs = [rig.spec(f"echo {n} >> {log}") for n in range(50)]
    jobs = [await submit(scheduler, spec) for spec in specs]
    for job in jobs:
        await until(scheduler, job, JobState.COMPLETED)
    assert sorted(map(int, log.read_text().split())) == list(range(50))


# Identity


async def test_a_job_is_found_by_its_name_and_user(rig, scheduler):
    spec = rig.spec(SLEEP)
    job = await submit(scheduler, spec)
    assert await scheduler.find(spec.name, user="alice") == (job,)
    assert await scheduler.find(spec.name, user="bob") == ()
    assert await scheduler.find(new_job_name(), user="alice") == ()


async def test_an_id_under_another_name_is_unknown_and_left_alone(rig, scheduler):
    job = await submit(scheduler, rig.spec(SLEEP))
    await until(scheduler, job, JobState.RUNNING)
    other = replace(job, name=new_job_name())
    assert (await scheduler.status([other]))[other].state is JobState.UNKNOWN
    await scheduler.cancel(other)
    gone = BatchJob("0123456789ab", "x", "alice")
    await scheduler.cancel(gone)
    assert (await scheduler.status([gone]))[gone].state is JobState.UNKNOWN
    assert (await scheduler.status([job]))[job].state is JobState.RUNNING


# The end by us


async def test_cancel_ends_everything_that_the_job_started(rig, scheduler):
    # A kernel has a session of its own, and what it starts may lose its parent.
    body = (
        "trap '' TERM\n"
        "setsid sh -c 'sleep 301 & echo $! $$ >> pids; exec sleep 302' &\n"
        "(setsid sleep 303 & echo $! >> pids)\n"
        "echo ready\nwhile true; do sleep 1; done"
    )  # fmt: skip
    job = await submit(scheduler, rig.spec(body))
    await until_true(lambda: len(readable(rig.root / "pids").split()) == 3)
    pids = [int(pid) for pid in (rig.root / "pids").read_text().split()]
    assert all(process(pid) for pid in pids)
    await scheduler.cancel(job)
    await scheduler.cancel(job)
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.CANCELLED
    assert not any(process(pid) for pid in pids)
    await scheduler.cancel(job)
    again = (await scheduler.status([job]))[job]
    assert replace(again, read_at=status.read_at) == status


async def test_what_the_job_leaves_behind_is_ended(rig, scheduler):
    job = await submit(scheduler, rig.spec("setsid sleep 300 & echo $! > pid; exit 0"))
    await until(scheduler, job, JobState.COMPLETED)
    assert process(int((rig.root / "pid").read_text())) is None


async def test_a_waiting_job_that_is_cancelled_never_runs(rig, scheduler):
    blocker = await submit(scheduler, rig.spec(SLEEP, resources=Resources(cpus=4)))
    await until(scheduler, blocker, JobState.RUNNING)
    job = await submit(scheduler, rig.spec("touch ran"))
    await scheduler.cancel(job)
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.CANCELLED
    assert status.started is None
    assert not (rig.directory(job) / "script").exists()
    await scheduler.cancel(blocker)
    await until(scheduler, blocker, JobState.CANCELLED)
    assert not (rig.root / "ran").exists()


async def test_the_time_limit_ends_a_job_after_a_warning(rig, scheduler):
    body = "trap 'echo warned' USR1\ntrap 'echo term; exit 9' TERM\n"
    spec = rig.spec(
        body + "while true; do sleep 0.1; done",
        resources=Resources(time_limit=timedelta(minutes=1)),
        warn_before=timedelta(seconds=59),
    )
    job = await submit(scheduler, spec)
    status = await until(scheduler, job, JobState.RUNNING)
    assert timedelta(seconds=55) < status.time_left(datetime.now(UTC))
    await until_true(lambda: "warned" in rig.output(job))
    assert "term" not in rig.output(job)


@pytest.fixture
def short_minutes(monkeypatch):
    """Let a time limit of a minute fall due after two seconds."""
    monkeypatch.setattr(
        "spawners.batch.local._seconds",
        lambda span: None if span is None else span.total_seconds() / 30,
    )


@pytest.mark.usefixtures("short_minutes")
async def test_a_job_over_its_time_is_ended_and_told(rig, scheduler):
    spec = rig.spec(
        "trap 'echo warned' USR1; trap 'echo term' TERM\n"
        "while true; do sleep 0.1; done",
        resources=Resources(time_limit=timedelta(minutes=1)),
        warn_before=timedelta(seconds=30),
    )
    job = await submit(scheduler, spec)
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.TIMEOUT
    assert status.reason == "TimeLimit"
    assert status.signal == signal.SIGKILL
    words = rig.output(job).split()
    assert words.index("warned") < words.index("term")
    assert status.ended - status.started >= timedelta(seconds=2)


async def test_a_job_over_its_memory_is_killed(rig, scheduler):
    body = "exec python3 -c 'import time; x = b\"x\" * 200_000_000; time.sleep(60)'"
    spec = rig.spec(body, resources=Resources(memory=100 * 1024**2))
    job = await submit(scheduler, spec)
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.OUT_OF_MEMORY
    assert status.reason == "OutOfMemory"


async def test_memory_that_processes_share_counts_once(rig, scheduler):
    body = (
        "exec python3 -c 'import os, time\n"
        'x = b"x" * 60_000_000\n'
        "children = [os.fork() for _ in range(2)]\n"
        "time.sleep(3)'"
    )
    spec = rig.spec(body, resources=Resources(memory=150 * 1024**2))
    job = await submit(scheduler, spec)
    assert (await until(scheduler, job, "ended")).state is JobState.COMPLETED


# The queue


async def test_gpus_are_given_to_one_job_at_a_time(rig, scheduler):
    one, two = Resources(gpus=1), Resources(gpus=2)
    body = "echo $CUDA_VISIBLE_DEVICES; sleep 300"
    first = await submit(scheduler, rig.spec(body, resources=one))
    second = await submit(scheduler, rig.spec(body, resources=one))
    third = await submit(scheduler, rig.spec(body, resources=two))
    fourth = await submit(scheduler, rig.spec(body, resources=one))
    await until(scheduler, first, JobState.RUNNING)
    await until(scheduler, second, JobState.RUNNING)
    await until_true(lambda: rig.output(first) and rig.output(second))
    assert {rig.output(first), rig.output(second)} == {"0\n", "1\n"}
    status = await scheduler.status([third, fourth])
    assert [status[job].queue_place for job in (third, fourth)] == [1, 2]
    assert [status[job].reason for job in (third, fourth)] == ["Resources", "Priority"]
    (partition,) = (await scheduler.snapshot()).partitions
    assert (partition.gpus[0].total, partition.gpus[0].idle) == (2, 0)
    await scheduler.cancel(first)
    await until(scheduler, first, JobState.CANCELLED)
    # One is free now, and the fourth must not overtake the third.
    assert (await scheduler.status([fourth]))[fourth].state is JobState.PENDING
    await scheduler.cancel(second)
    await until(scheduler, third, JobState.RUNNING)
    await until_true(lambda: rig.output(third))
    assert rig.output(third) == "0,1\n"
    assert (await scheduler.status([fourth]))[fourth].state is JobState.PENDING


async def test_a_job_without_gpus_does_not_wait_for_those_that_want_some(
    rig, scheduler
):
    gpus = Resources(gpus=2)
    running = await submit(scheduler, rig.spec(SLEEP, resources=gpus))
    await until(scheduler, running, JobState.RUNNING)
    waiting = await submit(scheduler, rig.spec(SLEEP, resources=gpus))
    plain = await submit(scheduler, rig.spec(SLEEP))
    await until(scheduler, plain, JobState.RUNNING)
    assert (await scheduler.status([waiting]))[waiting].state is JobState.PENDING


async def test_a_start_is_estimated_from_the_time_limits(rig, scheduler):
    resources = Resources(cpus=4, time_limit=timedelta(hours=1))
    running = await submit(scheduler, rig.spec(SLEEP, resources=resources))
    ends = (await until(scheduler, running, JobState.RUNNING)).ends
    waiting = await submit(scheduler, rig.spec(SLEEP, resources=resources))
    status = (await scheduler.status([waiting]))[waiting]
    assert status.estimated_start == ends
    estimate = await scheduler.estimate(rig.spec(SLEEP), user="alice")
    assert estimate - ends == timedelta(hours=1)


async def test_no_start_is_promised_behind_a_job_without_a_limit(rig, scheduler):
    everything = Resources(cpus=4)
    job = await submit(scheduler, rig.spec(SLEEP, resources=everything))
    await until(scheduler, job, JobState.RUNNING)
    assert await scheduler.estimate(rig.spec(SLEEP), user="alice") is None


@pytest.mark.parametrize(
    ("resources", "field", "said"),
    [
        (Resources(cpus=5), "cpus", "at most 4 CPUs"),
        (Resources(memory=3 * 1024**3), "memory", "at most 2 GB"),
        (Resources(gpus=3), "gpus", "at most 2 GPUs"),
        (Resources(gpus=1, gpu_model="h100"), "gpu_model", "a100"),
        (Resources(nodes=2), "nodes", "at most 1 node"),
        (Resources(partition="gpu"), "partition", "local"),
        (Resources(account="proj"), "account", "account"),
        (Resources(reservation="r"), "reservation", "reservation"),
    ],
)
async def test_what_can_never_run_is_refused(rig, scheduler, resources, field, said):
    with pytest.raises(SubmitRejected) as caught:
        await submit(scheduler, rig.spec(SLEEP, resources=resources))
    assert caught.value.field == field
    assert said in str(caught.value)


async def test_what_the_machine_has_passes_the_check(scheduler):
    asked = Resources(cpus=4, gpus=2, gpu_model="a100", partition="local")
    await scheduler.check(asked, user="alice")


# Restarts and crashes


@asynccontextmanager
async def reopened(rig, scheduler):
    """Another scheduler on the same directory, as after a restart of the hub."""
    await scheduler.close()
    again = rig.open()
    yield again


async def test_a_new_scheduler_adopts_what_runs_and_what_waits(rig, scheduler):
    running = await submit(scheduler, rig.spec(SLEEP, resources=Resources(cpus=4)))
    await until(scheduler, running, JobState.RUNNING)
    waiting = await submit(scheduler, rig.spec("true"))
    before = rig.run(running)
    async with reopened(rig, scheduler) as again:
        assert is_alive(before.leader, before.leader_start)
        status = await again.status([running, waiting])
        assert status[running].state is JobState.RUNNING
        assert status[waiting].state is JobState.PENDING
        assert await again.find(waiting.name, user="alice") == (waiting,)
        await again.cancel(running)
        await until(again, running, JobState.CANCELLED)
        await until(again, waiting, JobState.COMPLETED)


async def test_a_job_that_ended_between_two_schedulers_is_told(rig, scheduler):
    job = await submit(scheduler, rig.spec("while [ ! -e go ]; do sleep 0.1; done"))
    await until(scheduler, job, JobState.RUNNING)
    await scheduler.close()
    (rig.root / "go").touch()
    await until_true((rig.directory(job) / "end.json").exists)
    again = rig.open()
    assert (await again.status([job]))[job].state is JobState.COMPLETED


async def test_two_schedulers_at_once_start_each_job_once(rig):
    one, two = rig.open(), rig.open()
    log = rig.root / "log"
    jobs = [
        await submit(scheduler, rig.spec(f"echo $LANDBRIDGE_JOB_ID >> {log}"))
        for _ in range(6)
        for scheduler in (one, two)
    ]
    await asyncio.gather(*(until(one, job, JobState.COMPLETED) for job in jobs))
    assert sorted(log.read_text().split()) == sorted(job.id for job in jobs)


async def test_a_killed_supervisor_ends_its_job_as_failed(rig, scheduler):
    body = "setsid sleep 300 & echo $! > pid; sleep 300"
    job = await submit(scheduler, rig.spec(body))
    await until_true(lambda: readable(rig.root / "pid").strip())
    run, kernel = rig.run(job), int((rig.root / "pid").read_text())
    os.kill(run.supervisor, signal.SIGKILL)
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.FAILED
    assert status.reason == "SupervisorLost"
    await until_true(lambda: process(run.leader) is None)
    await until_true(lambda: process(kernel) is None)


async def test_killing_everything_at_once_is_told(rig, scheduler):
    job = await submit(scheduler, rig.spec(SLEEP))
    await until(scheduler, job, JobState.RUNNING)
    run = rig.run(job)
    await scheduler.close()
    for pid in (run.supervisor, run.leader):
        os.kill(pid, signal.SIGKILL)
    again = rig.open()
    status = await until(again, job, "ended")
    assert status.state is JobState.FAILED
    (partition,) = (await again.snapshot()).partitions
    assert partition.idle_cpus == 4


async def change_run(rig, job: BatchJob, **fields: object) -> None:
    path = rig.directory(job) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


async def test_a_process_that_got_the_number_of_a_supervisor_is_left_alone(
    rig, scheduler
):
    bystander = await asyncio.create_subprocess_exec("sleep", "300")
    try:
        job = await submit(scheduler, rig.spec(SLEEP))
        await until(scheduler, job, JobState.RUNNING)
        real = rig.run(job)
        # As after a crash: the recorded numbers are somebody else's now.
        await change_run(rig, job, supervisor=bystander.pid, leader=bystander.pid)
        status = await until(scheduler, job, "ended")
        assert status.state is JobState.FAILED
        await scheduler.cancel(job)
        assert bystander.returncode is None
        assert process(bystander.pid) is not None
        await until_true(lambda: not is_alive(real.leader, real.leader_start))
    finally:
        bystander.kill()
        await bystander.wait()


async def test_a_reboot_ends_what_ran_and_keeps_what_waits(rig, scheduler):
    job = await submit(scheduler, rig.spec(SLEEP, resources=Resources(cpus=4)))
    await until(scheduler, job, JobState.RUNNING)
    waiting = await submit(scheduler, rig.spec("true"))
    run = rig.run(job)
    await scheduler.close()
    await change_run(rig, job, boot="00000000-0000-0000-0000-000000000000")
    again = rig.open()
    status = await until(again, job, "ended")
    assert status.state is JobState.NODE_FAIL
    assert status.reason == "Reboot"
    await until(again, waiting, JobState.COMPLETED)
    os.kill(run.supervisor, signal.SIGTERM)  # there was no reboot
    await until_true(lambda: process(run.leader) is None)


async def test_a_supervisor_that_cannot_start_is_told(rig, scheduler, monkeypatch):
    monkeypatch.setattr("spawners.batch.local_queue.sys.executable", "/bin/false")
    job = await submit(scheduler, rig.spec("true"))
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.LAUNCH_FAILED


async def test_ended_jobs_are_forgotten_after_a_while(rig):
    first = rig.open(keep=timedelta(0))
    job = await submit(first, rig.spec("true"))
    await until(first, job, JobState.COMPLETED)
    await first.close()
    again = rig.open(keep=timedelta(0))
    other = await submit(again, rig.spec("true"))
    assert not rig.directory(job).exists()
    assert (await again.status([job]))[job].state is JobState.UNKNOWN
    await until(again, other, JobState.COMPLETED)


async def test_shutdown_ends_all_jobs(rig, scheduler):
    running = await submit(scheduler, rig.spec(SLEEP, resources=Resources(cpus=4)))
    await until(scheduler, running, JobState.RUNNING)
    waiting = await submit(scheduler, rig.spec("touch ran"))
    run = rig.run(running)
    await scheduler.shutdown()
    assert process(run.leader) is None
    status = await rig.open().status([running, waiting])
    assert {reading.state for reading in status.values()} == {JobState.CANCELLED}
    assert not (rig.root / "ran").exists()


async def test_a_pipe_in_place_of_the_output_blocks_nobody(rig, scheduler):
    job = await submit(scheduler, rig.spec("true"))
    os.mkfifo(rig.root / "pipe")
    assert await scheduler.read_output(job, str(rig.root / "pipe")) == ""
    assert await scheduler.read_output(job, "/no/such/file") == ""


def test_a_gpus_product_becomes_a_plain_name():
    assert gpu_model_name("NVIDIA A100-SXM4-80GB") == "a100-sxm4-80gb"
    assert gpu_model_name("Tesla T4") == "tesla-t4"
    assert gpu_model_name("??") == "gpu"


# Other accounts


@pytest.fixture
def nobody_else():
    """An ordinary account that is not ours."""
    found = [e for e in pwd.getpwall() if 1000 <= e.pw_uid < 60000]
    assert found, "an ordinary account is needed"
    return found[0]


@pytest.mark.root
async def test_as_root_a_job_runs_as_its_account(rig, nobody_else):
    rig.root.chmod(0o711)
    for parent in rig.root.parents[:2]:
        parent.chmod(0o711)
    home = rig.root / "home"
    home.mkdir()
    os.chown(home, nobody_else.pw_uid, nobody_else.pw_gid)
    scheduler = rig.open(switch_user=True)
    spec = replace(
        rig.spec('id -u; id -g; id -Gn; echo "$USER $HOME"; cat secret'),
        workdir=str(home),
        output=str(home / "out-%j"),
    )
    job = await submit(scheduler, spec, user=nobody_else.pw_name)
    assert job.uid == nobody_else.pw_uid
    await until(scheduler, job, "ended")
    output = await scheduler.read_output(job, spec.output)
    lines = output.split("\n")
    assert lines[:2] == [str(nobody_else.pw_uid), str(nobody_else.pw_gid)]
    assert "root" not in lines[2]
    assert lines[3] == f"{nobody_else.pw_name} {nobody_else.pw_dir}"
    own = rig.root / "own"
    own.write_text("root's")
    own.chmod(0o600)
    assert await scheduler.read_output(job, str(own)) == ""


@pytest.mark.root
@pytest.mark.parametrize("user", ["root", "daemon", "no-such-account"])
async def test_system_accounts_run_no_jobs(rig, user):
    scheduler = rig.open(switch_user=True)
    with pytest.raises(NotPermitted):
        await submit(scheduler, rig.spec("true"), user=user)
