"""Becoming the user by a real sudo rule, and over a real sshd."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from rigs.checkout import CHECKOUT
from rigs.slurm.cluster import Cluster
from spawners.batch.errors import InvalidSpec, NotPermitted, SchedulerUnavailable
from spawners.batch.models import JobSpec, JobState, Resources, new_job_name
from spawners.batch.runners import launcher
from spawners.batch.runners.direct import RunnerSettings
from spawners.batch.runners.launched import SshRunner, SudoRunner
from spawners.batch.slurm.scheduler import SlurmScheduler

pytestmark = [pytest.mark.root, pytest.mark.slurm]

SBATCH = ["sbatch", "--parsable", "--mem=10M", "--export=NIL", "--output=/dev/null"]


def needs(*programs: str) -> None:
    search = "/usr/sbin:/usr/bin:/sbin:/bin"
    missing = [name for name in programs if not shutil.which(name, path=search)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: sudo, openssh-server)")


@dataclass
class Site:
    """An installed launcher whose settings name the private Slurm."""

    program: Path
    sudo: str
    environment: Mapping[str, str]

    def sudo_runner(self) -> SudoRunner:
        settings = RunnerSettings(environment=self.environment)
        return SudoRunner([str(self.program)], settings, sudo=self.sudo)


@pytest.fixture
def site(slurm: Cluster, shared: Path, people: tuple[str, str]) -> Iterator[Site]:
    """The launcher installed as a site would, and config/sudoers.d in force.

    bob plays the hub's account, members of alice's group are the people.
    """
    needs("sudo", "visudo", "setpriv")
    settings = shared / "launch.json"
    facts = {"slurm_conf": slurm.environment["SLURM_CONF"]}
    settings.write_text(json.dumps(facts))
    settings.chmod(0o644)
    program = shared / "landbridge-launch"
    text = Path(launcher.__file__).read_text()
    program.write_text(text.replace("/etc/landbridge/launch.json", str(settings)))
    program.chmod(0o755)
    rule = (CHECKOUT / "config/sudoers.d/landbridge").read_text()
    rule = rule.replace("/usr/local/libexec/landbridge-launch", str(program))
    rule = rule.replace("%landbridge-users", "%alice").replace(
        "landbridge ALL", "bob ALL"
    )
    installed = Path(f"/etc/sudoers.d/{shared.name}")
    as_bob = shared / "sudo"
    as_bob.write_text(
        '#!/bin/sh\nexec setpriv --reuid=bob --regid=bob --init-groups sudo "$@"\n'
    )
    as_bob.chmod(0o755)
    try:
        installed.write_text(rule)
        installed.chmod(0o440)
        subprocess.run(["visudo", "-cf", installed], check=True, capture_output=True)
        yield Site(program, str(as_bob), slurm.environment)
    finally:
        installed.unlink()


class TestSudo:
    async def test_a_job_is_the_users(self, slurm: Cluster, site: Site) -> None:
        runner = site.sudo_runner()
        script = b"#!/bin/sh\nsleep 60\n"
        done = await runner.run(SBATCH, user="alice", stdin=script)
        assert done.returncode == 0, done.stderr
        job = done.stdout.decode().strip()
        assert [job, "alice"] in [row[:2] for row in slurm.squeue()]
        await runner.run(["scancel", job], user="alice")
        slurm.wait_state(job, "CANCELLED")

    @pytest.mark.parametrize("user", ["root", "bob", "daemon", "nosuch", "#0", "-i"])
    async def test_nobody_else_is_acted_for(self, site: Site, user: str) -> None:
        with pytest.raises(NotPermitted):
            await site.sudo_runner().run(["squeue"], user=user)

    async def test_arguments_are_not_in_the_rule(self, site: Site) -> None:
        runner = SudoRunner([str(site.program), "--config", "/x"], sudo=site.sudo)
        with pytest.raises(NotPermitted, match="password is required"):
            await runner.run(["squeue"], user="alice")

    async def test_other_programs_are_not_in_the_rule(self, site: Site) -> None:
        with pytest.raises(NotPermitted):
            await SudoRunner(["/usr/bin/id"], sudo=site.sudo).run(["id"], user="alice")

    async def test_the_launcher_has_the_last_word(self, site: Site) -> None:
        with pytest.raises(NotPermitted, match="not run here"):
            await site.sudo_runner().run(["sh", "-c", "id"], user="alice")

    async def test_a_deadline_ends_the_command_over_there(
        self, slurm: Cluster, site: Site
    ) -> None:
        with slurm.stopped("slurmctld"):
            began = time.monotonic()
            with pytest.raises(SchedulerUnavailable, match="No answer within 1 s"):
                await site.sudo_runner().run(["squeue"], user="alice", timeout=1)
            assert time.monotonic() - began < 5
            left = subprocess.run(
                ["pgrep", "-u", "alice", "squeue"], capture_output=True, check=False
            )
            assert left.stdout == b""

    async def test_a_log_is_read_as_the_user(self, site: Site, shared: Path) -> None:
        runner, log = site.sudo_runner(), shared / "log"
        assert await runner.read_tail(str(log), user="alice") == b""
        log.write_bytes(b"0123456789")
        assert await runner.read_tail(str(log), user="alice", max_bytes=3) == b"789"
        log.chmod(0o600)
        with pytest.raises(NotPermitted):
            await runner.read_tail(str(log), user="alice")

    async def test_an_unusable_request_is_our_fault(self, site: Site) -> None:
        with pytest.raises(InvalidSpec):
            await site.sudo_runner().run(["squeue", "x" * 40_000], user="alice")


@dataclass
class LoginNode:
    """A sshd of our own on this machine."""

    options: tuple[str, ...]
    pid: int


@pytest.fixture
async def login(shared: Path, people: tuple[str, str]) -> AsyncIterator[LoginNode]:
    needs("sshd", "ssh-keygen", "ssh")
    for name in ("host", "client"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", shared / name]
        subprocess.run(argv, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    public = (shared / "client.pub").read_text()
    (shared / "authorized").write_text(public)
    host = (shared / "host.pub").read_text()
    (shared / "known").write_text(f"login {host}")
    (shared / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {shared}/host\n"
        f"AuthorizedKeysFile {shared}/authorized\nStrictModes no\nUsePAM yes\n"
        f"PidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        # The shell over there must not wait for what somebody's start-up files do.
        "SetEnv HOME=/nonexistent\n"
    )
    (shared / "ssh_config").write_text(
        f"Host login\nHostName 127.0.0.1\nHostKeyAlias login\nPort {port}\n"
        f"IdentityFile {shared}/client\nUserKnownHostsFile {shared}/known\n"
        "StrictHostKeyChecking yes\n"
    )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(shared / "sshd_config")]
    with (shared / "sshd.log").open("wb") as log:
        sshd = subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield LoginNode(("-F", str(shared / "ssh_config")), sshd.pid)
    finally:
        sshd.terminate()
        sshd.wait(10)


@pytest.fixture
def sockets(shared: Path) -> Path:
    return shared / "c"


async def live(scheduler: SlurmScheduler, output: str) -> None:
    """Put one job of alice's through everything that a scheduler does."""
    await scheduler.snapshot()
    assert "proj" in (await scheduler.limits("alice")).accounts
    resources = Resources(memory=16 * 1024**2, time_limit=timedelta(minutes=5))
    await scheduler.check(resources, user="alice")
    spec = JobSpec(
        name=new_job_name(),
        script='#!/bin/sh\necho "$LANDBRIDGE_JOB"; sleep 60\n',
        resources=resources,
        workdir="/",
        output=output,
        environment={"LANDBRIDGE_JOB": "a name"},
    )
    await scheduler.estimate(spec, user="alice")
    job = await scheduler.submit(spec, user="alice")
    assert (await scheduler.find(spec.name, user="alice"))[0].id == job.id
    async with asyncio.timeout(20):
        while await scheduler.read_output(job, output) != "a name\n":
            await asyncio.sleep(0.1)
    assert (await scheduler.status([job]))[job].state is JobState.RUNNING
    await scheduler.cancel(job)
    async with asyncio.timeout(20):
        while not (await scheduler.status([job]))[job].state.ended:
            await asyncio.sleep(0.1)


class TestScheduler:
    async def test_it_lives_behind_sudo(self, slurm: Cluster, site: Site) -> None:
        scheduler = SlurmScheduler(site.sudo_runner())
        await live(scheduler, f"{slurm.path}/job/%j.sudo")

    async def test_it_lives_behind_ssh(
        self, slurm: Cluster, site: Site, login: LoginNode, sockets: Path
    ) -> None:
        launch = [str(site.program)]
        runner = SshRunner("login", sockets, launch=launch, options=login.options)
        try:
            await live(SlurmScheduler(runner), f"{slurm.path}/job/%j.ssh")
        finally:
            await runner.close()


class TestSsh:
    async def test_root_over_there_becomes_the_user(
        self, slurm: Cluster, site: Site, login: LoginNode, sockets: Path
    ) -> None:
        launch = [str(site.program)]
        runner = SshRunner("login", sockets, launch=launch, options=login.options)
        try:
            script = b"#!/bin/sh\nsleep 60\n"
            done = await runner.run(SBATCH, user="alice", stdin=script)
            assert done.returncode == 0, done.stderr
            job = done.stdout.decode().strip()
            assert [job, "alice"] in [row[:2] for row in slurm.squeue()]
            listed = await runner.run(
                ["squeue", "--noheader", "--Format=JobArrayID:|"], user=None
            )
            assert listed.stdout.decode().split() == [f"{job}|"]
            with pytest.raises(NotPermitted):
                await runner.run(["squeue"], user="root")
            with pytest.raises(NotPermitted):
                await runner.run(["scancel", job], user=None)
            assert await runner.read_tail("/home/alice/none", user="alice") == b""
        finally:
            await runner.close()

    async def test_an_account_over_there_may_use_sudo(
        self, slurm: Cluster, site: Site, login: LoginNode, sockets: Path
    ) -> None:
        runner = SshRunner(
            "login",
            sockets,
            launch=[str(site.program)],
            account="bob",
            sudo=True,
            options=login.options,
        )
        try:
            done = await runner.run(SBATCH, user="alice", stdin=b"#!/bin/sh\ntrue\n")
            assert done.returncode == 0, done.stderr
            assert (
                await runner.run(["sinfo", "--noheader"], user=None)
            ).returncode == 0
            with pytest.raises(NotPermitted):
                await runner.run(["squeue"], user="daemon")
        finally:
            await runner.close()

    @pytest.mark.parametrize("account", ["root", "bob"])
    async def test_a_restricted_key_is_no_shell_and_does_all_that_is_needed(
        self,
        slurm: Cluster,
        site: Site,
        login: LoginNode,
        sockets: Path,
        shared: Path,
        account: str,
    ) -> None:
        """As docs/howto/install-on-slurm.md tells it (L9)."""
        allowed = shared / "authorized"
        by_sudo = "" if account == "root" else " --sudo"
        key = allowed.read_text()
        line = f'restrict,command="{site.program}{by_sudo}" {key}'
        allowed.write_text(line)
        runner = SshRunner(
            "login",
            sockets,
            launch=["/bin/sh", "-c", "id"],
            account=account,
            sudo=account != "root",
            options=login.options,
        )
        try:
            script = b"#!/bin/sh\nid -un > $HOME/x; sleep 60\n"
            done = await runner.run(SBATCH, user="alice", stdin=script)
            assert done.returncode == 0, done.stderr
            job = done.stdout.decode().strip()
            assert [job, "alice"] in [row[:2] for row in slurm.squeue()]
            argv = ["squeue", "--noheader", f"--jobs={job}", "--Format=JobArrayID:|"]
            listed = await runner.run(argv, user=None)
            assert listed.stdout.decode().split() == [f"{job}|"]
            assert await runner.read_tail("/home/alice/none", user="alice") == b""
            for user in {"root", "daemon", account}:
                with pytest.raises(NotPermitted):
                    await runner.run(
                        [*SBATCH[:-1], f"--output={allowed}"], user=user, stdin=script
                    )
            with pytest.raises(NotPermitted):
                await runner.run(
                    ["unmunge", f"--output={allowed}", "--metadata=/dev/null"],
                    user=None,
                )
            await runner.run(["scancel", job], user="alice")
            slurm.wait_state(job, "CANCELLED")
        finally:
            await runner.close()
        assert allowed.read_text() == line
        ssh = ["ssh", *login.options, "-o", "BatchMode=yes", "-l", account]
        for words in (["login", "id"], ["login"], ["-tt", "login", "sh"]):
            shell = subprocess.run(
                [*ssh, *words], input=b"id\n", capture_output=True, check=False
            )
            assert b"uid=" not in shell.stdout + shell.stderr
        forward = subprocess.run(
            [*ssh, "-W", "127.0.0.1:22", "login"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert forward.returncode != 0
        assert b"prohibited" in forward.stderr

    async def test_the_connection_is_kept_and_made_again(
        self, site: Site, login: LoginNode, sockets: Path
    ) -> None:
        launch = [str(site.program)]
        runner = SshRunner("login", sockets, launch=launch, options=login.options)
        try:
            argv = ["squeue", "--version"]
            many = (runner.run(argv, user="alice") for _ in range(6))
            assert {done.returncode for done in await asyncio.gather(*many)} == {0}
            assert (sockets / "ssh").exists()
            check = ["ssh", *login.options, "-o", f"ControlPath={sockets}/ssh"]
            check += ["-O", "check", "login"]
            master = subprocess.run(check, capture_output=True, text=True, check=True)
            pid = int(master.stderr.partition("pid=")[2].partition(")")[0])
            os.kill(pid, 9)  # the master we just asked
            done = await runner.run(argv, user="alice")
            assert done.returncode == 0
        finally:
            await runner.close()
        assert not (sockets / "ssh").exists()

    async def test_no_connection_is_no_answer(
        self, site: Site, login: LoginNode, sockets: Path
    ) -> None:
        with pytest.raises(SchedulerUnavailable, match="No ssh to login"):
            runner = SshRunner("login", sockets, options=(*login.options, "-p", "1"))
            await runner.run(["squeue"], user="alice")

    async def test_a_missing_launcher_is_named(
        self, login: LoginNode, sockets: Path
    ) -> None:
        runner = SshRunner(
            "login", sockets, launch=["/nowhere/launch"], options=login.options
        )
        try:
            with pytest.raises(SchedulerUnavailable, match="/nowhere/launch"):
                await runner.run(["squeue"], user="alice")
        finally:
            await runner.close()

    @pytest.mark.parametrize("host", ["-oProxyCommand=id", "a b", "", "a;id"])
    def test_a_host_is_a_name(self, sockets: Path, host: str) -> None:
        with pytest.raises(InvalidSpec):
            SshRunner(host, sockets)

    def test_a_directory_too_long_for_a_socket_is_refused(self) -> None:
        with pytest.raises(InvalidSpec, match="too long"):
            SshRunner("login", Path("/" + "x" * 90))
