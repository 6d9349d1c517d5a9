"""The jobs service's parts, from what it is told."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from spawners.batch.jobs.record import JobRecord
from spawners.batch.jobs.settings import Policy
from spawners.batch.local.scheduler import LocalScheduler, LocalSettings
from spawners.batch.rendezvous.certificates import DOMAIN, HubPki, ensure_hub_pki
from spawners.batch.rendezvous.launch import JobSideSettings
from spawners.batch.rendezvous.proofs import Completed, MungeVerifier
from spawners.batch.runners.direct import (
    CommandRunner,
    RootRunner,
    RunnerSettings,
    SelfRunner,
)
from spawners.batch.runners.launched import SshRunner, SudoRunner
from spawners.batch.scheduler import Scheduler
from spawners.batch.slurm.commands import SlurmSettings
from spawners.batch.slurm.scheduler import SlurmScheduler
from spawners.common.files import ensure_secret
from spawners.common.settings import ConfigError

from .clients import ClientTokens, table
from .core import Parts
from .settings import JobsConfig

_PROOF_SECONDS = 10.0
_SHORTEST_KEY = 32


def build_scheduler(config: JobsConfig) -> Scheduler:
    """Return the batch system that the site has; nothing is asked of it yet."""
    scheduler = config.scheduler
    if config.site.scheduler == "local":
        return LocalScheduler(
            LocalSettings(
                directory=config.queue,
                cpus=scheduler.slots_cpus or None,
                gpus=scheduler.slots_gpus or None,
                switch_user=config.site.own_accounts,
                lowest_uid=config.lowest_uid,
            )
        )
    return SlurmScheduler(
        build_runner(config),
        SlurmSettings(
            command_timeout=scheduler.command_timeout,
            sees_all_jobs=config.site.runner == "root",
        ),
    )


def build_runner(config: JobsConfig) -> CommandRunner:
    """Return how a scheduler's command is run as its user."""
    common = runner_settings(config)
    scheduler = config.scheduler
    match config.site.runner:
        case "root":
            return RootRunner(common)
        case "self":
            return SelfRunner(common)
        case "sudo":
            return SudoRunner([launcher_path(scheduler.launcher)], common)
        case "ssh":
            return SshRunner(
                scheduler.ssh_host,
                config.state / "run" / "ssh",
                launch=[scheduler.launcher],
                account=scheduler.ssh_user,
                sudo=scheduler.ssh_user != "root",
                settings=common,
            )


def launcher_path(name: str) -> str:
    """Return the launcher by its absolute path, as the sudo rule must name it."""
    return name if name.startswith("/") else shutil.which(name) or name


def build_munge(config: JobsConfig) -> MungeVerifier:
    """Return who decodes the jobs' credentials: here, or where the jobs' munge is."""
    socket = config.jobs.munge_socket or None
    if config.site.runner != "ssh":
        return MungeVerifier(socket=socket)
    runner = build_runner(config)

    async def run_there(argv: Sequence[str], stdin: bytes) -> Completed:
        done = await runner.run(argv, user=None, stdin=stdin, timeout=10.0)
        return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())

    return MungeVerifier(run_there, socket=socket)


def runner_settings(config: JobsConfig) -> RunnerSettings:
    """Return what all runners have in common."""
    path = RunnerSettings().path
    sbatch = shutil.which("sbatch")
    if sbatch and str(Path(sbatch).parent) not in path:
        path = (str(Path(sbatch).parent), *path)
    conf = os.environ.get("SLURM_CONF")
    return RunnerSettings(
        path=path,
        environment={"SLURM_CONF": conf} if conf else {},
        minimum_uid=config.lowest_uid,
    )


def job_side(config: JobsConfig, pki: HubPki) -> JobSideSettings:
    """Return what every job is told: where to report, and how to prove itself."""
    site = config.site
    return JobSideSettings(
        hub_url=f"{site.jobs_origin}{config.agent_path}",
        hub_ca=pki.hub_ca.certificate,
        proof=site.proof,
        # Only the account that asks munge may read a job's proof.
        munge_uid=os.geteuid() if site.runner in ("root", "self") else None,
        munge_socket=config.jobs.munge_socket or None,
        python=config.jobs.environment or sys.prefix,
    )


async def job_answers(tls: ssl.SSLContext, record: JobRecord) -> bool:
    """Tell whether the job's own server proves itself where it reported to be."""
    if record.address is None:
        return False
    try:
        async with asyncio.timeout(_PROOF_SECONDS):
            _, writer = await asyncio.open_connection(
                record.address.address,
                record.address.port,
                ssl=tls,
                server_hostname=f"{record.name}.{DOMAIN}",
            )
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


def watch_policy(config: JobsConfig, pki: HubPki) -> Policy:
    """Return how often the scheduler is asked, and who else is when it denies a job."""
    return Policy(
        fast=config.scheduler.fast_poll,
        slow=config.scheduler.slow_poll,
        submissions=config.scheduler.concurrent_submissions,
        answers=partial(job_answers, pki.client.context()),
    )


def launch_secrets(directory: Path) -> list[bytes]:
    """Return what encrypts the launches of jobs that wait; made if there is none yet.

    The file holds one secret a line. To change it, an operator writes a new one above;
    the old one may go when no job waits any more that was submitted with it.

    Raises:
        NotOurs: the file was made by somebody else, or others can read it.
        ConfigError: a line is too short to be a secret.
    """
    path = directory / "launch-keys"
    lines = ensure_secret(path).split()
    if any(len(line) < _SHORTEST_KEY for line in lines):
        message = f"each line must have {_SHORTEST_KEY} random characters or more."
        raise ConfigError(path, [message])
    return [line.encode("ascii") for line in lines]


def build_parts(config: JobsConfig) -> Parts:
    """Return what the service is made of; makes certificates and keys if needed.

    Raises:
        AuthenticationBroken, ConfigError, NotOurs: an operator has to act.
    """
    pki = ensure_hub_pki(config.pki, names=[config.site.jobs_address])
    return Parts(
        scheduler=build_scheduler(config),
        database=config.database,
        side=job_side(config, pki),
        jobs_ca=pki.jobs_ca,
        launch_secrets=launch_secrets(config.secrets),
        tokens=ClientTokens(config.secrets, table(config.services)),
        agent_paths=config.agent_paths,
        lock=config.lock,
        python=config.jobs.python,
        watch=watch_policy(config, pki),
        munge=build_munge(config),
        prologues=config.prologues,
    )
