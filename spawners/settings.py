"""A site's settings file, ``gateway.toml``, as frozen, checked sections.

Hub, services and kernels read the same file, each its own sections, so every
section is a model of its own, and :func:`load` checks only the asked ones.

Durations are numbers of seconds or texts such as ``"90 s"``, ``"15 min"``,
``"2 h"``, ``"7 d"``; sizes are bytes or texts such as ``"512 MB"``, ``"2 GiB"``.
"""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_BYTES = {
    **{"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
}


class SettingsError(Exception):
    """A settings file cannot be used; the text names file, key and what is allowed.

    Attributes:
        problems: one text per wrong key, the most useful first.
    """

    def __init__(self, path: Path | None, problems: list[str]) -> None:
        self.problems = problems
        where = f"{path}: " if path else ""
        super().__init__(where + "; ".join(problems))


def _quantity(value: object, units: dict[str, int], examples: str) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", value)
    if match is None or match[2] not in units:
        raise ValueError(f"must be {examples}")
    return float(match[1]) * units[match[2]]


def _duration(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a duration")  # noqa: TRY004 -- pydantic's protocol
    seconds = _quantity(value, _SECONDS, 'seconds, or like "15 min", "2 h", "7 d"')
    return timedelta(seconds=seconds) if isinstance(seconds, int | float) else seconds


def _size(value: object) -> object:
    size = _quantity(value, _BYTES, 'bytes, or like "512 MB", "2 GiB"')
    return int(size) if isinstance(size, float) else size


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0))]
Size = Annotated[int, BeforeValidator(_size), Field(ge=0)]


class Section(BaseModel):
    """One table of ``gateway.toml``; ``table`` is its name there.

    Every field has a default that is safe, and a description: the reference page
    is made from them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
    table: ClassVar[str] = ""


class SchedulerSettings(Section):
    """Which batch system runs the jobs, and how often it is asked."""

    table: ClassVar[str] = "scheduler"

    kind: Literal["auto", "slurm", "local"] = Field(
        "auto",
        description="`slurm`, `local` (child processes of this machine), or `auto`: "
        "Slurm if `sbatch` is here and its controller answers, else local.",
    )
    runner: Literal["auto", "root", "sudo", "ssh", "self"] = Field(
        "auto",
        description="How a command is run as its user: `root` (the hub is root), "
        "`sudo` (through `landbridge-launch`), `ssh` (the same program on a login "
        "node), `self` (every job is the hub's own account), or `auto`: root if the "
        "hub is root, else self.",
    )
    ssh_host: str = Field(
        "",
        description='For `runner = "ssh"`: the login node, as `ssh` names it.',
    )
    ssh_user: str = Field(
        "", description='For `runner = "ssh"`: the account to connect as.'
    )
    launcher: str = Field(
        "landbridge-launch",
        description="For `sudo` and `ssh`: the launcher program, by absolute path "
        "where it is not on the `PATH`.",
    )
    command_timeout: Duration = Field(
        timedelta(seconds=20),
        description="How long one scheduler command may take before its answer is "
        "given up and the state counts as unknown.",
    )
    fast_poll: Duration = Field(
        timedelta(seconds=2),
        description="Time between two queries while some job starts or ends.",
    )
    slow_poll: Duration = Field(
        timedelta(seconds=15),
        description="Time between two queries while all is steady. One query serves "
        "all jobs.",
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

    table: ClassVar[str] = "jobs"

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
        description="Directory for the jobs' output files; `{home}` and `{user}` are "
        "filled in. Empty: `{home}/.local/state/landbridge`.",
    )
    profiles: str = Field(
        "profiles.yaml",
        description="What users may pick; relative to this file's directory.",
    )


AnySection = TypeVar("AnySection", bound=Section)


def read_file(path: Path | None) -> dict[str, object]:
    """Return the tables of the TOML file at ``path``; ``{}`` for ``None``.

    Raises:
        SettingsError: it cannot be read, or is no TOML (naming the line).
    """
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(path, [error.strerror or str(error)]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(path, [f"is not valid TOML: {error}"]) from None


def load(path: Path | None, section: type[AnySection]) -> AnySection:
    """Return one section of the settings file; its defaults if ``path`` is ``None``.

    Raises:
        SettingsError: naming file, key and what is allowed.
    """
    return parse(read_file(path), section, path)


def parse(
    tables: dict[str, object], section: type[AnySection], path: Path | None = None
) -> AnySection:
    """Return one section out of tables that were read already; see :func:`load`."""
    values = tables.get(section.table, {})
    if not isinstance(values, dict):
        raise SettingsError(path, [f"{section.table} must be a table"])
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise SettingsError(path, _problems(section, error)) from None


def _problems(section: type[Section], error: ValidationError) -> list[str]:
    problems = []
    for item in error.errors(include_url=False, include_context=False):
        key = ".".join([section.table, *(str(part) for part in item["loc"])])
        if item["type"] == "extra_forbidden":
            known = ", ".join(sorted(_fields_at(section, item["loc"][:-1])))
            problems.append(f"{key} is not a setting; known here: {known}")
        else:
            text = item["msg"].removeprefix("Value error, ")
            problems.append(f"{key}: {text[:1].lower()}{text[1:]}")
    return problems


def _fields_at(section: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    model: type[BaseModel] = section
    for part in path:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        for choice in get_args(inner) if get_origin(inner) else (inner,):
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                model = choice
    return set(model.model_fields)
