"""The agent in real jobs of a real Slurm, proved by munge to a real rendezvous."""

from __future__ import annotations

import asyncio
import shlex
import stat
import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rigs.batch.rendezvous import serving
from spawners.batch.errors import NotPermitted
from spawners.batch.models import Launch, new_job_name
from spawners.batch.rendezvous.launch import agent_command
from spawners.batch.rendezvous.proofs import MungeVerifier

pytestmark = pytest.mark.slurm

STUB = """\
import os, sys, time
fd = int(os.environ["LANDBRIDGE_READY_FD"])
print("the stub runs", os.environ["CANARY"] == "canary-of-the-hub", flush=True)
os.write(fd, b"41000\\n"); os.close(fd)
if sys.argv[1] == "exit":
    sys.exit(9)
time.sleep(300)
"""


TASK_STUB = """\
import os, time
fd = int(os.environ["LANDBRIDGE_READY_FD"])
os.write(fd, b"4100%s\\n" % os.environb[b"SLURM_ARRAY_TASK_ID"]); os.close(fd)
time.sleep(300)
"""


@asynccontextmanager
async def hub_on(slurm, scheduler, tmp_path, *arguments):
    """A served rendezvous over the private Slurm; see rendezvous_rig."""
    verifier = MungeVerifier(socket=slurm.munge_socket)
    async with serving(
        tmp_path,
        scheduler=scheduler,
        proof="munge",
        munge=verifier,
        munge_socket=slurm.munge_socket,
    ) as (rig, hub):
        rig.launch = Launch(
            ("/usr/bin/python3", "{dir}/stub.py", *arguments),
            {"CANARY": "canary-of-the-hub"},
            {"stub.py": STUB},
        )
        yield rig, hub


async def submit(rig, new_job, user, **environment):
    """Submit a job whose script is the agent's command, after some variables."""
    variables = [f"export {name}={value}\n" for name, value in environment.items()]
    spec = new_job(
        "".join(variables) + "exec " + shlex.join(agent_command("/usr/bin/python3")),
        name=new_job_name(),
        memory=100 * 1024**2,
    )
    record = await rig.jobs.submit(
        spec, user=user, owner=f"server:{user}/", launch=rig.launch
    )
    return record, spec.output


async def wait(rig, record, until):
    async with asyncio.timeout(60):
        return await rig.jobs.wait(record.name, until)


async def test_a_job_proves_itself_by_munge_and_its_end_is_explained(
    slurm, scheduler, new_job, alice, tmp_path
):
    async with hub_on(slurm, scheduler, tmp_path, "exit") as (rig, hub):
        record, _ = await submit(rig, new_job, alice)
        record = await wait(rig, record, lambda r: not r.live)
        assert hub.calls == ["fetch", "ready", "ended"]
        assert record.status.exit_code == 9
        assert "the stub runs True" in record.failure.log


async def test_the_job_answers_on_its_node_and_leaves_no_secret_in_slurm(
    slurm, scheduler, new_job, alice, tmp_path
):
    async with hub_on(slurm, scheduler, tmp_path, "stay") as (rig, _):
        record, _ = await submit(rig, new_job, alice)
        record = await wait(rig, record, lambda r: r.address or not r.live)
        assert record.address.host in record.status.nodes
        assert record.address.port == 41000
        number = record.job.id
        shown = slurm.admin("scontrol", "show", "job", number, "-dd")
        script = slurm.admin("scontrol", "write", "batch_script", number, "-")
        for text in (shown, script):
            assert "canary-of-the-hub" not in text
            assert "PRIVATE KEY" not in text
        await rig.jobs.cancel(record.name)
        record = await wait(rig, record, lambda r: not r.live)
        assert record.failure is None


async def test_each_task_of_a_set_reports_for_its_own_record(
    slurm, scheduler, new_job, alice, tmp_path
):
    async with hub_on(slurm, scheduler, tmp_path) as (rig, _):
        launch = replace(rig.launch, files={"stub.py": TASK_STUB})
        spec = new_job(
            "exec " + shlex.join(agent_command("/usr/bin/python3")),
            memory=100 * 1024**2,
        )
        owners = [f"cluster:{alice}/c/{number}" for number in range(3)]
        records = await rig.jobs.submit_set(
            spec, user=alice, owners=owners, launch=launch
        )
        for number, record in enumerate(records):
            record = await wait(rig, record, lambda r: r.address or not r.live)
            assert record.address.port == 41000 + number
            assert record.job.id.endswith(f"_{number}")
        assert await rig.jobs.cancel_owned(f"cluster:{alice}/c/") == 3
        for record in records:
            record = await wait(rig, record, lambda r: not r.live)
            assert record.failure is None


async def test_a_credential_of_another_user_opens_nothing(
    two_users, scheduler, new_job, tmp_path
):
    async with hub_on(two_users, scheduler, tmp_path, "stay") as (rig, _):
        # bob's job says that it is alice's, whose name everybody sees in the queue
        alices, _ = await submit(rig, new_job, "alice")
        await wait(rig, alices, lambda r: r.address or not r.live)
        bobs, path = await submit(rig, new_job, "bob", LANDBRIDGE_JOB=alices.name)
        bobs = await wait(rig, bobs, lambda r: not r.live)
        output = await scheduler.read_output(bobs.job, path)
        assert "does not know this job by this proof" in output
        assert "the stub runs" not in output
        assert rig.jobs.get(alices.name).live
        await rig.jobs.cancel(alices.name)
        await wait(rig, alices, lambda r: not r.live)


# Another account, faster than the job: it waits for the file, and reads on from it.
LURKER = """\
import glob, os, sys, time
until = time.monotonic() + 60
found = None
while found is None and time.monotonic() < until:
    for path in glob.glob(sys.argv[1]):
        found = open(path, "rb", buffering=0)
    time.sleep(0.002)
print("open", flush=True)
sys.stdin.read()
sys.stdout.buffer.write(found.read())
"""


async def test_nobody_else_reads_a_jobs_output_whoever_opened_it_first(
    two_users, scheduler, new_job, tmp_path
):
    output = f"{two_users.path}/job/lurked-%j.out"
    lurker = await asyncio.create_subprocess_exec(
        "/usr/bin/python3",
        "-c",
        LURKER,
        output.replace("%j", "*"),
        user="bob",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with hub_on(two_users, scheduler, tmp_path, "exit") as (rig, _):
            name = new_job_name()
            spec = new_job(
                "umask; echo from the prologue; sleep 1\nexec "
                + shlex.join(agent_command("/usr/bin/python3")),
                name=name,
                output=output,
                memory=100 * 1024**2,
            )
            record = await rig.jobs.submit(
                spec, user="alice", owner="server:alice/", launch=rig.launch
            )
            record = await wait(rig, record, lambda r: not r.live)
            path = Path(output.replace("%j", record.job.id))
            log = path.read_text()
        assert await lurker.stdout.readline() == b"open\n"
        read, _ = await lurker.communicate(b"")
    finally:
        if lurker.returncode is None:
            lurker.kill()
            await lurker.wait()
    # The prologue's own words it had; what the server says is in another file.
    assert read.decode() == "0022\nfrom the prologue\n"
    assert log.startswith("0022\nfrom the prologue\n")
    assert "the stub runs True" in log
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    refused = subprocess.run(
        ["/usr/bin/cat", str(path)], user="bob", capture_output=True, text=True
    )
    assert "Permission denied" in refused.stderr


@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "of-another"])
async def test_an_output_file_that_is_none_is_refused_in_words_at_once(
    two_users, scheduler, new_job, kind
):
    """A FIFO there would hold the job and its node's daemon until that is killed."""
    place = Path(two_users.path) / "job" / f"odd-{kind}.out"
    account = "bob" if kind == "of-another" else "alice"
    make = {
        "fifo": ["mkfifo", place],
        "link": ["ln", "-s", "/dev/null", place],
        "directory": ["mkdir", place],
        "of-another": ["touch", place],
    }
    subprocess.run(["env", "--", *make[kind]], user=account, check=True)
    try:
        with pytest.raises(NotPermitted) as refused:
            await scheduler.submit(new_job(output=str(place)), user="alice")
        assert str(place) in str(refused.value)
        assert "no regular file" in str(refused.value)
    finally:
        subprocess.run(["rm", "-rf", "--", place], check=True)
