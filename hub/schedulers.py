"""The site's batch system, from its settings."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from spawners.batch.local import LocalScheduler, LocalSettings
from spawners.batch.runner import (
    CommandRunner,
    RootRunner,
    RunnerSettings,
    SelfRunner,
)
from spawners.batch.runner_launch import SshRunner, SudoRunner
from spawners.batch.scheduler import Scheduler
from spawners.batch.slurm import SlurmScheduler
from spawners.batch.slurm_commands import SlurmSettings

from .detect import Site
from .settings import Settings


def build_scheduler(settings: Settings, site: Site) -> Scheduler:
    """Return the batch system that the site has; nothing is asked of it yet."""
    scheduler = settings.scheduler
    if site.scheduler == "local":
        return LocalScheduler(
            LocalSettings(
                directory=settings.state / "local",
                cpus=scheduler.slots_cpus or None,
                gpus=scheduler.slots_gpus or None,
                switch_user=site.own_accounts,
            )
        )
    return SlurmScheduler(
        build_runner(settings, site),
        SlurmSettings(
            command_timeout=scheduler.command_timeout,
            sees_all_jobs=site.runner == "root",
        ),
    )


def build_runner(settings: Settings, site: Site) -> CommandRunner:
    """Return how a scheduler's command is run as its user."""
    common = runner_settings(settings)
    if site.runner == "root":
        return RootRunner(common)
    if site.runner == "self":
        return SelfRunner(common)
    ways = settings.scheduler
    if site.runner == "sudo":
        return SudoRunner([ways.launcher], common)
    return SshRunner(
        ways.ssh_host,
        settings.state / "ssh",
        launch=[ways.launcher],
        account=ways.ssh_user,
        sudo=ways.ssh_user != "root",
        settings=common,
    )


def runner_settings(settings: Settings) -> RunnerSettings:
    """Return what all runners have in common."""
    path = RunnerSettings().path
    found = shutil.which("sbatch")
    if found and str(Path(found).parent) not in path:
        path = (str(Path(found).parent), *path)
    conf = os.environ.get("SLURM_CONF")
    return RunnerSettings(
        path=path,
        environment={"SLURM_CONF": conf} if conf else {},
        minimum_uid=settings.auth.lowest_uid,
    )
