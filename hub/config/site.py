"""What this machine offers where the settings say ``auto``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from hub.registry import SERVICES
from services.jobs.settings import JobsConfig, Site
from spawners.common.settings import ConfigError

from .paths import database_url, kernel_profiles
from .ports import jobs_port
from .settings import Settings, is_loopback

_TIMEOUT_SECONDS = 15
_MUNGE_SOCKETS = (Path("/run/munge/munge.socket.2"), Path("/var/run/munge.socket.2"))


def slurm_answers() -> bool:
    """True if Slurm's commands are here and a controller answers."""
    controllers = _controllers()
    return any(line.endswith(" UP") for line in controllers or ())


def slurm_is_here() -> bool:
    """True if Slurm's commands are here and know a controller, up, down or hanging.

    A gateway that is started while the controller is restarted must not turn to
    another scheduler: its jobs are in Slurm's queue. Commands without a configuration,
    as a distribution's package leaves them, are no Slurm.
    """
    return _controllers() != []


def _controllers() -> list[str] | None:
    """Return what ``scontrol ping`` says of each controller; ``None``: it hangs.

    The lines read ``Slurmctld(primary) at HOST is UP`` (Slurm 22.05), or ``DOWN``;
    ``SLURM_CONF`` is honoured by ``scontrol`` itself.
    """
    if not shutil.which("sbatch") or not shutil.which("scontrol"):
        return []
    try:
        answer = subprocess.run(
            ["scontrol", "ping"],  # noqa: S607 -- sites install Slurm anywhere
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except OSError:
        return []
    except subprocess.TimeoutExpired:
        return None
    lines = [line.rstrip() for line in answer.stdout.splitlines()]
    return [line for line in lines if line.startswith("Slurmctld(")]


def munge_socket(settings: Settings) -> Path | None:
    """Return munge's socket on this machine, or ``None``."""
    named = settings.jobs.munge_socket
    for path in (Path(named),) if named else _MUNGE_SOCKETS:
        if path.is_socket():
            return path
    return None


def detect(settings: Settings) -> Site:
    """Return what ``auto`` means here. Asks Slurm's controller, once."""
    kind = settings.scheduler.kind
    if kind == "auto":
        kind = "slurm" if slurm_is_here() else "local"
    runner = settings.scheduler.runner
    if runner == "auto":
        shared = kind == "local" and settings.scheduler.everybody_is_root
        runner = "root" if os.geteuid() == 0 and not shared else "self"
    proof = settings.jobs.proof
    if proof == "auto":
        proof = "munge" if kind == "slurm" and munge_socket(settings) else "token"
    address = settings.jobs.address
    if not address:
        address = os.uname().nodename if kind == "slurm" else "127.0.0.1"
    bind = settings.jobs.bind_address
    if not bind:
        # Compute nodes come over the network; local jobs do not.
        bind = "127.0.0.1" if is_loopback(address) else "0.0.0.0"  # noqa: S104
    return Site(
        scheduler=kind,
        runner=runner,
        proof=proof,
        own_accounts=runner != "self",
        jobs_address=address,
        jobs_bind=bind,
        jobs_port=jobs_port(settings, bind),
    )


def check_accounts(settings: Settings, site: Site) -> None:
    """Refuse a site whose jobs would run as an account that nobody meant.

    Raises:
        ConfigError: saying who would become whom, and what to do instead.
    """
    where = settings.path or Path("gateway.toml")
    is_root = os.geteuid() == 0
    if site.runner == "self" and is_root and not settings.scheduler.everybody_is_root:
        raise ConfigError(
            where,
            [
                "scheduler.runner = self as root would run everybody's notebook as "
                "root: whoever signs in owns this machine. Start Landbridge as an "
                'account of your own, or set runner = "root": each job then runs as '
                "its user's account. For a container that holds nothing else, "
                "LANDBRIDGE_EVERYBODY_IS_ROOT=yes accepts it."
            ],
        )
    # Slurm's commands say no themselves; here all would quietly run as ourselves.
    if site.scheduler == "local" and site.runner != "self" and not is_root:
        raise ConfigError(
            where,
            [
                f"scheduler.runner = {site.runner} without Slurm needs a hub that is "
                "root. Start it as root, or leave runner at auto: every job then "
                "runs as the hub's own account."
            ],
        )
    if site.scheduler == "local" and site.runner in ("sudo", "ssh"):
        raise ConfigError(
            where,
            [
                f"scheduler.runner = {site.runner} is for Slurm's commands; jobs of "
                'this machine need runner = "root", "self" or "auto".'
            ],
        )


def jobs_config(settings: Settings, site: Site) -> JobsConfig:
    """Return what the jobs service is told of these settings.

    Raises:
        ConfigError: the profiles for kernels cannot be used.
    """
    profiles = kernel_profiles(settings)
    return JobsConfig(
        scheduler=settings.scheduler,
        jobs=settings.jobs,
        site=site,
        state=settings.state,
        database=database_url(settings, "jobs"),
        base_url=settings.hub.base_url,
        lowest_uid=settings.auth.lowest_uid,
        # Without profiles, everything may be chosen, in one that is called so.
        prologues={"default": ""}
        if profiles is None
        else {profile.key: profile.prologue for profile in profiles},
        services=SERVICES,
    )
