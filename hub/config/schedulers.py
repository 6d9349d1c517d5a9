"""The site's batch system, from its settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from spawners.batch.local.scheduler import LocalScheduler, LocalSettings
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

from .settings import Settings
from .site import Site


def build_scheduler(settings: Settings, site: Site) -> Scheduler:
    """Return the batch system that the site has; nothing is asked of it yet."""
    scheduler = settings.scheduler
    if site.scheduler == "local":
        return LocalScheduler(
            LocalSettings(
                directory=local_queue(settings),
                cpus=scheduler.slots_cpus or None,
                gpus=scheduler.slots_gpus or None,
                switch_user=site.own_accounts,
                lowest_uid=settings.auth.lowest_uid,
            )
        )
    return SlurmScheduler(
        build_runner(settings, site),
        SlurmSettings(
            command_timeout=scheduler.command_timeout,
            sees_all_jobs=site.runner == "root",
        ),
    )


def local_queue(settings: Settings) -> Path:
    """Return where the local scheduler keeps its queue."""
    return settings.state / "local"


def build_runner(settings: Settings, site: Site) -> CommandRunner:
    """Return how a scheduler's command is run as its user."""
    common = runner_settings(settings)
    scheduler = settings.scheduler
    match site.runner:
        case "root":
            return RootRunner(common)
        case "self":
            return SelfRunner(common)
        case "sudo":
            return SudoRunner([launcher_path(scheduler.launcher)], common)
        case "ssh":
            return SshRunner(
                scheduler.ssh_host,
                settings.state / "run" / "ssh",
                launch=[scheduler.launcher],
                account=scheduler.ssh_user,
                sudo=scheduler.ssh_user != "root",
                settings=common,
            )


def launcher_path(name: str) -> str:
    """Return the launcher by its absolute path, as the sudo rule must name it."""
    return name if name.startswith("/") else shutil.which(name) or name


def build_munge(settings: Settings, site: Site) -> MungeVerifier:
    """Return who decodes the jobs' credentials: here, or where the jobs' munge is."""
    socket = settings.jobs.munge_socket or None
    if site.runner != "ssh":
        return MungeVerifier(socket=socket)
    runner = build_runner(settings, site)

    async def run_there(argv: Sequence[str], stdin: bytes) -> Completed:
        done = await runner.run(argv, user=None, stdin=stdin, timeout=10.0)
        return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())

    return MungeVerifier(run_there, socket=socket)


def runner_settings(settings: Settings) -> RunnerSettings:
    """Return what all runners have in common."""
    path = RunnerSettings().path
    sbatch = shutil.which("sbatch")
    if sbatch and str(Path(sbatch).parent) not in path:
        path = (str(Path(sbatch).parent), *path)
    conf = os.environ.get("SLURM_CONF")
    return RunnerSettings(
        path=path,
        environment={"SLURM_CONF": conf} if conf else {},
        minimum_uid=settings.auth.lowest_uid,
    )
