"""From batchspawner's settings to a job: ``req_*`` values and site scripts.

A site's ``req_partition``, ``req_memory``, … and its ``batch_script`` keep their
meaning. What changed: every value is parsed before it is used, no value of a user
is ever a template variable, and ``{cmd}`` is the agent that fetches the server's
secrets instead of a command line that holds them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from jinja2 import Environment, StrictUndefined, TemplateError

from spawners.batch.errors import InvalidSpec
from spawners.batch.models import JobSpec, Resources
from spawners.batch.rendezvous.launch import AGENT_VARIABLES
from spawners.batch.script import render_job_script
from spawners.common.units import UNITS, clock_span

from .options import LaunchPlan

_MIB = 1024**2
# sbatch(1), --mem: an integer with an optional suffix [K|M|G|T]; megabytes if none.
_MEMORY = re.compile(r"(\d{1,12})\s*([KMGT]?)i?[Bb]?\Z", re.IGNORECASE)
_MEMORY_UNIT = {**UNITS, "": UNITS["M"]}
# sbatch(1), --time: "minutes", "minutes:seconds", "hours:minutes:seconds",
# "days-hours", "days-hours:minutes" and "days-hours:minutes:seconds".
_TIME = re.compile(r"(?:(\d{1,3})-)?(\d{1,6})(?::(\d{1,2}))?(?::(\d{1,2}))?\Z")
# sbatch(1), --gres: "name[:type][:count]"; GPUs are the only ones that we count.
_GRES = re.compile(r"gpu(?::([A-Za-z_][A-Za-z0-9_.-]{0,63}))?(?::(\d{1,3}))?\Z")

# Options that would take away what the batch core finds a job by.
_RESERVED = ("--job-name", "--array", "--parsable", "--wrap", "--test-only")
_RESERVED_SHORT = ("-J", "-a")


def parse_memory(text: str) -> int | None:
    """Return bytes for a memory setting (``"4G"``, ``"4gb"``, ``"4096"`` MiB).

    Returns ``None`` for an empty setting.

    Raises:
        InvalidSpec: the text is no amount of memory.
    """
    if not text.strip():
        return None
    match = _MEMORY.match(text.strip())
    if match is None:
        raise InvalidSpec("req_memory", f"{text[:40]!r} is no amount of memory.")
    return int(match[1]) * _MEMORY_UNIT[match[2].upper()]


def parse_runtime(text: str) -> timedelta | None:
    """Return a time limit written as the scheduler writes it, ``None`` if empty.

    Raises:
        InvalidSpec: the text is no time limit.
    """
    text = text.strip()
    if not text:
        return None
    match = _TIME.match(text)
    if match is None:
        raise InvalidSpec("req_runtime", f"{text[:40]!r} is no time limit.")
    return clock_span(*match.groups())


def format_runtime(limit: timedelta | None) -> str:
    """Return a time limit as ``[days-]hours:minutes:seconds``, ``""`` if none."""
    if limit is None:
        return ""
    minutes, seconds = divmod(int(limit.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours:02d}:{minutes:02d}:{seconds:02d}"
    return f"{days}-{clock}" if days else clock


def _whole(name: str, text: str, empty: int) -> int:
    text = text.strip()
    if not text:
        return empty
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise InvalidSpec(name, f"{text[:40]!r} is no whole number.")
    return int(text)


def _parse_gres(text: str) -> tuple[int, str | None]:
    if not text.strip():
        return 0, None
    match = _GRES.match(text.strip())
    if match is None:
        raise InvalidSpec(
            "req_gres",
            f"{text[:40]!r} is no number of GPUs.",
            hint="Write gpu:2 or gpu:a100:2; put other resources into req_options.",
        )
    return int(match[2] or 1), match[1]


def resources_from(req: Mapping[str, str]) -> Resources:
    """Return what the site's ``req_*`` settings ask for.

    Args:
        req: the settings without their ``req_`` (``"nprocs"``, ``"memory"``, …).

    Raises:
        InvalidSpec: naming the setting that is malformed.
    """

    def word(*names: str) -> str | None:
        return next((req[name].strip() for name in names if req.get(name)), None)

    gpus, model = _parse_gres(req.get("gres", ""))
    return Resources(
        cpus=_whole("req_nprocs", req.get("nprocs", ""), 1),
        memory=parse_memory(req.get("memory", "")),
        gpus=_whole("req_ngpus", req.get("ngpus", ""), gpus),
        gpu_model=model,
        time_limit=parse_runtime(req.get("runtime", "")),
        partition=word("partition", "queue"),
        account=word("account"),
        qos=word("qos"),
        reservation=word("reservation"),
        constraint=word("constraint"),
    )


def options_from(text: str) -> tuple[str, ...]:
    """Return an operator's extra options as argv items, split as a shell would.

    Raises:
        InvalidSpec: the text has an open quote, or sets what identifies a job.
    """
    try:
        options = tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidSpec("req_options", f"cannot be split: {error}.") from None
    for option in options:
        name = option.partition("=")[0]
        if name in _RESERVED or option.startswith(_RESERVED_SHORT):
            raise InvalidSpec("req_options", f"{name} is set by the gateway itself.")
    return options


def variables(req: Mapping[str, str], resources: Resources) -> dict[str, str]:
    """Return the variables of a site's script: ``req_*``, as really asked for.

    What a profile or a user chose replaces the site's default under its old name,
    written as the scheduler writes it.
    """
    gres = ""
    if resources.gpus:
        gres = ":".join(filter(None, ("gpu", resources.gpu_model, str(resources.gpus))))
    memory = resources.memory
    return {
        **req,
        "nprocs": str(resources.cpus),
        "memory": "" if memory is None else f"{-(-memory // _MIB)}M",
        "ngpus": str(resources.gpus or ""),
        "gres": gres,
        "runtime": format_runtime(resources.time_limit),
        "partition": resources.partition or "",
        "queue": req.get("queue") or resources.partition or "",
        "account": resources.account or "",
        "qos": resources.qos or "",
        "reservation": resources.reservation or "",
        "constraint": resources.constraint or "",
        "nodes": str(resources.nodes),
    }


def render(template: str, values: Mapping[str, str], command: str) -> str:
    """Return a site's script with its variables filled in.

    The template is Jinja's if it holds ``{{`` or ``{%``, else ``str.format``'s, as
    in batchspawner. ``cmd`` is ``command``.

    Raises:
        InvalidSpec: the template names what does not exist, does not run the
            server, or is malformed. The operator has to act.
    """
    names = {**values, "cmd": command}
    try:
        if "{{" in template or "{%" in template:
            # A batch script is no HTML, and its values passed closed types.
            environment = Environment(
                undefined=StrictUndefined,
                autoescape=False,  # noqa: S701
                keep_trailing_newline=True,
            )
            text = environment.from_string(template).render(names)
        else:
            text = template.format(**names)
    except KeyError as error:
        raise InvalidSpec(
            "batch_script",
            f"there is no variable {str(error)[:60]}.",
            hint="Options that users chose are no variables; set req_… instead.",
        ) from None
    except (TemplateError, ValueError, IndexError, AttributeError) as error:
        raise InvalidSpec("batch_script", f"{error}."[:300]) from None
    if command not in text:
        raise InvalidSpec("batch_script", "must hold {cmd}, which runs the server.")
    return text.lstrip("\n")


@dataclass(frozen=True, slots=True)
class SpecParts:
    """What a job is made of besides what was chosen.

    Attributes:
        name, workdir, output, comment: as in :class:`JobSpec`.
        command: what runs the agent, as argv.
        warn_before: as in :class:`JobSpec`; zero for never.
    """

    name: str
    command: tuple[str, ...]
    workdir: str
    output: str | None
    comment: str
    warn_before: timedelta


def job_spec(
    parts: SpecParts, plan: LaunchPlan, *, req: Mapping[str, str], template: str
) -> JobSpec:
    """Return the job of a notebook server.

    Args:
        parts: see there.
        plan: what was chosen.
        req: the site's ``req_`` settings, without the prefix.
        template: the site's own script, or ``""`` for ours.

    Raises:
        InvalidSpec: a setting of the site is malformed.
    """
    prologue = "\n".join(filter(None, (req.get("prologue", ""), plan.prologue)))
    if template:
        kept = [*AGENT_VARIABLES, *filter(None, [req.get("keepvars_extra")])]
        values = variables(req, plan.resources)
        values |= {"prologue": prologue, "keepvars": ",".join(kept)}
        script = render(template, values, shlex.join(parts.command))
    else:
        script = render_job_script(
            (*shlex.split(req.get("srun", "")), *parts.command),
            prologue=prologue.splitlines(),
            epilogue=req.get("epilogue", "").splitlines(),
        )
    # A shell that does not expect the warning dies of it; a site's own may not.
    warn = None if template or not parts.warn_before else parts.warn_before
    return JobSpec(
        name=parts.name,
        script=script,
        resources=plan.resources,
        workdir=parts.workdir,
        output=parts.output,
        warn_before=warn,
        comment=parts.comment,
        options=options_from(req.get("options", "")),
    )
