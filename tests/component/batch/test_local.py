import os
import pwd
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rigs.batch.local import SLEEP, Rig, readable, submit, until, until_true
from spawners.batch.errors import NotPermitted
from spawners.batch.models import BatchJob, JobState, Resources, new_job_name
from spawners.common.processes import process


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    await rig.close()


@pytest.fixture
def scheduler(rig):
    return rig.open()


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
        ({"output": "/no/such/out"}, "output: /no/such/out: No such file or directory"),
        ({"script": "#!/no/such/interpreter\n"}, "script: No such file or directory"),
    ],
)
async def test_a_start_that_is_not_possible_is_told(rig, scheduler, change, reason):
    job = await submit(scheduler, replace(rig.spec("true"), **change))
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.LAUNCH_FAILED
    assert status.reason == reason


async def test_a_set_is_as_many_jobs(rig, scheduler):
    spec = rig.spec("echo $LANDBRIDGE_JOB_ID $LANDBRIDGE_TASK")
    spec = replace(spec, output=str(rig.root / "out-%A-%a"))
    jobs = await scheduler.submit_set(spec, 3, user="alice")
    assert len(jobs) == 3
    for number, job in enumerate(jobs):
        await until(scheduler, job, JobState.COMPLETED)
        base, _, index = job.id.partition("_")
        assert index == str(number)
        said = (rig.root / f"out-{base}-{index}").read_text()
        assert said == f"{job.id} {number}\n"
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
        "spawners.batch.local.scheduler._seconds",
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


# Other accounts

needs_root = pytest.mark.skipif(
    os.getuid() != 0, reason="needs root, to run jobs as other accounts"
)


@pytest.fixture
def nobody_else():
    """An ordinary account that is not ours."""
    found = [e for e in pwd.getpwall() if 1000 <= e.pw_uid < 60000]
    assert found, "an ordinary account is needed"
    return found[0]


@needs_root
@pytest.mark.root
async def test_as_root_a_job_runs_as_its_account(rig, nobody_else):
    rig.root.chmod(0o711)
    for parent in rig.root.parents:
        if parent.stat().st_mode & 0o001 == 0:
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


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("user", ["root", "daemon", "no-such-account"])
async def test_system_accounts_run_no_jobs(rig, user):
    scheduler = rig.open(switch_user=True)
    with pytest.raises(NotPermitted):
        await submit(scheduler, rig.spec("true"), user=user)
