"""What the jobs service is told: its sections of ``gateway.toml``, and what they meant.

``auto`` is decided by whoever starts the service, once for all processes of a gateway:
:class:`Site` is what it came to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal  # Any: settings of whichever service

from pydantic import Field

from services.common.service import Service
from spawners.common.settings import Duration, Section


class SchedulerSettings(Section):
    """Which batch system runs the jobs, and how often it is asked."""

    kind: Literal["auto", "slurm", "local"] = Field(
        "auto",
        description="`slurm`, `local` (child processes of this machine), or `auto`: "
        "Slurm if `sbatch` is here and configured, its controller up or down, else "
        "local.",
    )
    runner: Literal["auto", "root", "sudo", "ssh", "self"] = Field(
        "auto",
        description="How a command is run as its user: `root` (the hub is root), "
        "`sudo` (through `landbridge-launch`), `ssh` (the same program on a login "
        "node), `self` (every job is the hub's own account), or `auto`: root if the "
        "hub is root, else self. With the local scheduler, `root` runs each job as the "
        "account that its user is named after.",
    )
    everybody_is_root: bool = Field(
        default=False,
        description="Accept that a hub which is root runs everybody's notebook as "
        'root (`runner = "self"`). Whoever can sign in then owns the machine: for '
        "a container that holds nothing else.",
    )
    ssh_host: str = Field(
        "",
        description='For `runner = "ssh"`: the login node, as `ssh` names it.',
    )
    ssh_user: str = Field(
        "", description='For `runner = "ssh"`: the account to connect as.'
    )
    launcher: str = Field(
        "/usr/local/libexec/landbridge-launch",
        description="For `sudo` and `ssh`: the launcher program's absolute path, as "
        "the sudo rule names it, or on the login node.",
    )
    command_timeout: Duration = Field(
        timedelta(seconds=60),
        description="How long one scheduler command may take before its answer is "
        "given up and the state counts as unknown.",
    )
    fast_poll: Duration = Field(
        timedelta(seconds=2),
        description="Time between two queries while some job starts or ends.",
    )
    slow_poll: Duration = Field(
        timedelta(seconds=20),
        description="Time between two queries while all is steady. One query serves "
        "all jobs.",
    )
    concurrent_submissions: int = Field(
        8,
        ge=1,
        description="How many jobs may be submitted at the same moment; more wait "
        "their turn, and none is refused for it.",
    )
    slots_cpus: int = Field(
        0,
        ge=0,
        description="For the local scheduler: CPU cores to give out; 0 for all.",
    )
    slots_gpus: int = Field(
        0, ge=0, description="For the local scheduler: GPUs to give out."
    )


class JobsSettings(Section):
    """The jobs that carry notebook servers, and how they reach the hub."""

    address: str = Field(
        "",
        description="Host name or address of the hub as compute nodes reach it. "
        "Empty: this machine's own name with Slurm, loopback with the local "
        "scheduler.",
    )
    bind_address: str = Field(
        "",
        description="Address that the jobs' frontend listens on. Empty: all with "
        "Slurm, loopback with the local scheduler.",
    )
    port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of that frontend (TLS). 0: the public port plus one.",
    )
    proof: Literal["auto", "munge", "token"] = Field(
        "auto",
        description="How a job proves whose it is: `munge` (no secret travels), "
        "`token` (one time, from the job's node only), or `auto`: munge if its "
        "socket is on the hub's machine and jobs run under Slurm.",
    )
    munge_socket: str = Field(
        "", description="Munge's socket if it is not at the usual place."
    )
    queue_timeout: Duration | None = Field(
        None,
        description="How long a start may wait in the queue; unset: as long as it "
        "takes.",
    )
    launch_timeout: Duration = Field(
        timedelta(minutes=5),
        description="From the job's start on its node to a server that answers.",
    )
    warn_before: Duration = Field(
        timedelta(minutes=5),
        description="How long before its time limit a job is warned.",
    )
    environment: str = Field(
        "",
        description="Directory of the environment with JupyterLab, as compute nodes "
        "see it. Empty: the one that `make up` made, else the hub's own.",
    )
    python: str = Field(
        "/usr/bin/python3",
        description="A Python 3.6 or newer on the compute nodes, for the job's agent.",
    )
    workdir: str = Field(
        "",
        description="Directory that a job starts in; `{home}` and `{user}` are filled "
        "in. Empty: the user's home.",
    )
    log_directory: str = Field(
        "",
        description="Directory for the jobs' output files, one per server, "
        "`.landbridge-server.log`; `{home}` and `{user}` are filled in. It must be "
        "there on the nodes. Empty: the user's home.",
    )
    profiles: str = Field(
        "profiles.yaml",
        description="What users may pick; relative to this file's directory.",
    )


@dataclass(frozen=True, slots=True)
class Site:
    """The choices that ``auto`` came to.

    Attributes:
        scheduler: which batch system.
        runner: how a command is run as its user.
        proof: how a job proves whose it is.
        own_accounts: True if each user's jobs run as an account of that name, so
            that only names of existing accounts may sign in.
        jobs_address: host name or address of the hub as jobs reach it.
        jobs_bind: address that the jobs' frontend listens on.
        jobs_port: its port.
    """

    scheduler: Literal["slurm", "local"]
    runner: Literal["root", "sudo", "ssh", "self"]
    proof: Literal["munge", "token"]
    own_accounts: bool
    jobs_address: str
    jobs_bind: str
    jobs_port: int

    @property
    def jobs_origin(self) -> str:
        """Scheme and authority at which jobs reach the edge."""
        bare = self.jobs_address
        host = f"[{bare}]" if ":" in bare else bare
        return f"https://{host}:{self.jobs_port}"


@dataclass(frozen=True, slots=True)
class JobsConfig:
    """Everything that the jobs service is told.

    Attributes:
        scheduler, jobs: the sections.
        site: what ``auto`` came to.
        state: the gateway's state directory.
        database: SQLAlchemy URL of the records' database.
        base_url: the gateway's path, with slashes at both ends.
        lowest_uid: accounts below are the system's and run no jobs.
        prologues: shell lines of the profiles for kernels, by their keys.
        services: of the hub's registry; those that have jobs are clients.
    """

    scheduler: SchedulerSettings
    jobs: JobsSettings
    site: Site
    state: Path
    database: str
    base_url: str = "/"
    lowest_uid: int = 1000
    prologues: Mapping[str, str] = field(default_factory=dict)
    services: tuple[Service[Any], ...] = ()

    @property
    def queue(self) -> Path:
        """Where the local scheduler keeps its queue."""
        return self.state / "local"

    @property
    def agent_path(self) -> str:
        """Where jobs' agents call, without a slash at the end."""
        return f"{self.base_url}jobs/agent"

    @property
    def agent_paths(self) -> tuple[str, ...]:
        """The same, and where those call that began when the hub had the jobs."""
        return (self.agent_path, f"{self.base_url}hub/api/landbridge/jobs")

    @property
    def pki(self) -> Path:
        """Where the two authorities and their certificates lie."""
        return self.state / "pki"

    @property
    def secrets(self) -> Path:
        """Where tokens and keys lie."""
        return self.state / "secrets"

    @property
    def lock(self) -> Path:
        """What the process holds that looks after the jobs."""
        return self.state / "run" / "jobs.lock"
