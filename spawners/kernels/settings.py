"""Where kernels run, and what their users may ask for.

The notebook server's job finds the path of a JSON file in the variable
``LANDBRIDGE_KERNEL_CONFIG``; its keys are :class:`KernelSettings`'. Without it the
defaults serve a person at a login node or a laptop: the cluster's Slurm if there is
one, else this machine, and one profile in which everything may be chosen.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from spawners.batch.local.scheduler import LocalScheduler, LocalSettings
from spawners.batch.runners.direct import RunnerSettings, SelfRunner
from spawners.batch.scheduler import Scheduler
from spawners.batch.slurm.scheduler import SlurmScheduler
from spawners.common.settings import ConfigError, Duration, Section, parse
from spawners.profiles.profiles import Profiles, load_profiles, parse_profiles

VARIABLE = "LANDBRIDGE_KERNEL_CONFIG"

_OPEN_PROFILE: dict[str, Any] = {
    "default": {
        "title": "Kernel",
        "choices": {
            "cpus": {"min": 1, "max": 4096},
            "memory": {"min": "1M", "max": "1024T"},
            "gpus": {"min": 0, "max": 64},
            "time_limit": {"min": "1min", "max": "365d"},
            **dict.fromkeys(
                ("gpu_model", "partition", "account", "qos", "reservation"), "any"
            ),
            "constraint": "any",
        },
    }
}


class LocalMachine(Section):
    """How this machine is used where there is no batch system.

    Attributes:
        directory: where the queue is kept; ``""`` for one below the state.
        cpus, gpus: slots; ``None`` for what there is.
        gpu_model: their name.
    """

    directory: str = ""
    cpus: int | None = None
    gpus: int | None = None
    gpu_model: str | None = None


class Gateway(Section):
    """The jobs service of the gateway that a notebook server belongs to.

    Attributes:
        url: where jobs reach it, ``https://HOST:PORT/…``.
        user: JupyterHub's name of the server's user.
        account: that the user's jobs run as.
    """

    url: str
    user: str
    account: str


class KernelSettings(Section):
    """How kernels run as jobs. All of it may be known to the user.

    Attributes:
        gateway: the jobs service; ``None``: one of the user's own, which is told
            ``commands``, ``slurm_conf``, ``local``, ``proof``, ``munge_socket``,
            ``python``, ``prologue`` and ``options``. A gateway knows all that itself.
        scheduler: ``auto`` takes Slurm if there is ``sbatch``.
        commands: directories to look for the scheduler's commands in, first.
        slurm_conf: path, ``""`` for what the environment or Slurm itself says.
        local: this machine, if it is the scheduler.
        profiles: what may be chosen, in the form of ``profiles.yaml``; or
        profiles_file: the path of such a file.
        groups, admin: whom the profiles are open to.
        state: directory for records and logs, ``""`` for the user's own.
        logs: directory for the jobs' output, which the nodes must see; ``"none"``
            where they share no file system; ``""`` for one below the state.
        address: how the nodes reach this one; ``""`` finds out.
        ports: first and last port to listen on, here and on the nodes.
        proof: ``auto`` takes munge with Slurm if it is here, else a token.
        munge_socket: ``""`` for the standard one.
        lease: how long a job outlives the last program attached to its kernel.
        warn_before: how long before the time limit users are warned.
        launch_timeout: from a running job to its kernel.
        keep_limit: the longest that users may keep a kernel without its server.
        idle_after: a kernel with GPUs that computes nothing for so long, on the GPU
            or else, is ended by its notebook server; ``None`` for never.
        idle_after_cpu: the same for a kernel without GPUs.
        idle_warning: how long before that its user is warned.
        idle_gpu_percent: a GPU busier than this is no idle one.
        pass_environment: variables of the server that kernels get; ``*`` at the end
            stands for any rest. The server's secrets are never passed.
        python: the launcher's Python on the nodes, ``""`` for the usual ones.
        prologue: shell lines for every kernel's job.
        options: further options of the scheduler, as argv items.
    """

    gateway: Gateway | None = None
    scheduler: Literal["auto", "slurm", "local"] = "auto"
    commands: tuple[str, ...] = ()
    slurm_conf: str = ""
    local: LocalMachine = LocalMachine()
    profiles: dict[str, Any] = Field(default_factory=dict)
    profiles_file: str = ""
    groups: tuple[str, ...] = ()
    admin: bool = False
    state: str = ""
    logs: str = ""
    address: str = ""
    ports: tuple[int, int] | None = None
    proof: Literal["auto", "munge", "token"] = "auto"
    munge_socket: str = ""
    lease: Duration = timedelta(minutes=5)
    warn_before: Duration = timedelta(minutes=5)
    launch_timeout: Duration = timedelta(minutes=5)
    keep_limit: Duration = timedelta(hours=72)
    idle_after: Duration | None = timedelta(hours=1)
    idle_after_cpu: Duration | None = None
    idle_warning: Duration = timedelta(minutes=5)
    idle_gpu_percent: int = Field(default=5, ge=0, le=100)
    pass_environment: tuple[str, ...] = (
        "LANG",
        "LC_*",
        "TZ",
        "AWS_ENDPOINT_URL*",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "DASK_GATEWAY__*",
        "OPENAI_BASE_URL",
    )
    python: str = ""
    prologue: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _ports_are_a_range(self) -> KernelSettings:
        if self.ports is not None:
            first, last = self.ports
            if not 1024 <= first <= last <= 65535:
                raise ValueError("ports must be two numbers from 1024 to 65535")
        return self

    @property
    def is_slurm(self) -> bool:
        """Whether jobs go to Slurm."""
        if self.scheduler == "auto":
            return self._command("sbatch") is not None
        return self.scheduler == "slurm"

    @property
    def proves_by_munge(self) -> bool:
        """Whether a job's node vouches for its user."""
        if self.proof == "auto":
            return self.is_slurm and self._command("unmunge") is not None
        return self.proof == "munge"

    @property
    def directory(self) -> Path:
        """The state's directory."""
        if self.state:
            return Path(self.state)
        base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(base).expanduser() / "landbridge"

    @property
    def jobs_directory(self) -> Path:
        """Where the user's own jobs service of this machine keeps what it needs.

        Machines may share a home, and locks and databases are not to be trusted there.
        """
        return self.directory / "jobs" / socket.gethostname()

    @property
    def log_directory(self) -> Path | None:
        """Where the jobs' output goes, ``None`` for nowhere."""
        if self.logs == "none":
            return None
        return Path(self.logs) if self.logs else self.directory / "logs"

    def read_profiles(self) -> Profiles:
        """Return what may be chosen.

        Raises:
            ConfigError: naming what is wrong with it.
        """
        if self.profiles_file:
            return load_profiles(self.profiles_file)
        return parse_profiles(
            {"profiles": self.profiles or _OPEN_PROFILE}, Path("kernel profiles")
        )

    def build_scheduler(self) -> Scheduler:
        """Return the batch system, as oneself; nothing is asked of it yet."""
        if self.is_slurm:
            conf = self.slurm_conf or os.environ.get("SLURM_CONF", "")
            return SlurmScheduler(
                SelfRunner(
                    RunnerSettings(
                        path=(*self._places(), *RunnerSettings().path),
                        environment={"SLURM_CONF": conf} if conf else {},
                        minimum_uid=0,
                    )
                )
            )
        local = self.local
        return LocalScheduler(
            LocalSettings(
                directory=Path(local.directory or self.directory / "local"),
                cpus=local.cpus,
                gpus=local.gpus,
                gpu_model=local.gpu_model,
            )
        )

    def _places(self) -> tuple[str, ...]:
        return (*self.commands, *slurm_directory())

    def _command(self, name: str) -> str | None:
        path = os.pathsep.join((*self.commands, os.environ.get("PATH", os.defpath)))
        return shutil.which(name, path=path)


def slurm_directory() -> tuple[str, ...]:
    """Return where Slurm's commands are on ``PATH``: one directory or none."""
    found = shutil.which("sbatch")
    return (str(Path(found).parent),) if found else ()


def load_kernel_settings(path: str | None = None) -> KernelSettings:
    """Return the settings from a JSON file, or the defaults.

    Args:
        path: the file; ``None`` for what :data:`VARIABLE` names, if it is set.

    Raises:
        ConfigError: naming the file and every fault in it.
    """
    path = path or os.environ.get(VARIABLE)
    if not path:
        return KernelSettings()
    where = Path(path)
    try:
        data = json.loads(where.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(where, [f"cannot be read: {error.strerror}."]) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(where, [f"is not valid JSON: {error}."]) from error
    if not isinstance(data, dict):
        raise ConfigError(where, ["must hold an object."])
    return parse(data, KernelSettings, where, section="kernels")
