"""Jobs for ``sbatch`` and ``scancel`` as arguments, and what sbatch answers. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from ..models import BatchJob, JobSpec, Resources, submitted_name
from .lines import MAX_OUTPUT, odd_answer
from .notation import clusters_option, future_time, id_words, time_of

_SECOND = timedelta(seconds=1)

_MIB = 1024**2

_SUBMITTED = re.compile(rb"([0-9]{1,10})(?:;([A-Za-z0-9_.-]{1,64}))?\n\Z")
_PATTERN = re.compile(r"%[%jAax]")
_ESTIMATE = re.compile(rb"Job [0-9]+ to start at ([0-9]{1,20}) using ")


def sbatch_argv(
    spec: JobSpec, *, tasks: int | None = None, test_only: bool = False
) -> list[str]:
    """Return the command that submits ``spec``, its script on standard input.

    ``--parsable`` makes the answer ``id`` or ``id;cluster``. With ``test_only`` the
    answer is a guess of the start, on stderr.

    Args:
        spec: what to run.
        tasks: how often, as one array; ``None`` for a single job.
        test_only: ask without submitting.
    """
    output = spec.output or "/dev/null"
    if tasks is not None:
        # %j is a number that Slurm gives a task when it starts, and tells nobody.
        output = _PATTERN.sub(
            lambda found: "%A_%a" if found[0] == "%j" else found[0], output
        )
    argv = ["sbatch", "--test-only" if test_only else "--parsable"]
    # Else the job gets our own process's limits (open files, memory), not its node's.
    argv.append("--propagate=NONE")
    argv += spec.options
    argv += [
        f"--job-name={spec.name}",
        f"--chdir={spec.workdir}",
        f"--output={output}",
        f"--export={_export(spec.environment)}",
        "--requeue" if spec.requeue else "--no-requeue",
    ]
    if spec.comment:
        argv.append(f"--comment={spec.comment}")
    if spec.warn_before is not None:
        argv.append(f"--signal=B:USR1@{_warning_seconds(spec.warn_before)}")
    argv += resources_argv(spec.resources)
    if tasks is not None:
        argv.append(f"--array=0-{tasks - 1}")
    return argv


def resources_argv(resources: Resources) -> list[str]:
    """Return sbatch's options for ``resources``; one task on each node."""
    argv = [
        f"--nodes={resources.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={resources.cpus}",
    ]
    if resources.memory is not None:
        argv.append(f"--mem={-(-resources.memory // _MIB)}M")
    if resources.gpus:
        model = f"{resources.gpu_model}:" if resources.gpu_model else ""
        argv.append(f"--gres=gpu:{model}{resources.gpus}")
    if resources.time_limit is not None:
        argv.append(f"--time={format_minutes(resources.time_limit)}")
    for name in ("partition", "account", "qos", "reservation", "constraint"):
        value = getattr(resources, name)
        if value is not None:
            argv.append(f"--{name}={value}")
    return argv


def format_minutes(limit: timedelta) -> str:
    """Return a time limit in whole minutes, rounded up: Slurm counts no seconds."""
    return str(-(-limit // timedelta(minutes=1)))


def _warning_seconds(before: timedelta) -> int:
    return min(65535, max(1, before // _SECOND))


def _export(environment: Mapping[str, str]) -> str:
    """Name the variables, never their values; ``NIL`` for none at all."""
    return ",".join(sorted(environment)) or "NIL"


def scancel_argv(jobs: Sequence[BatchJob]) -> list[str]:
    """Return the command that ends ``jobs`` of one user and cluster, run as that user.

    Raises:
        ValueError: no job, or an id that is none of Slurm's.
    """
    words = id_words(jobs)
    if not words:
        raise ValueError("there is no id to cancel")
    return ["scancel", *clusters_option(jobs[0].cluster), *words]


def output_path(pattern: str, job: BatchJob) -> str:
    """Return where ``job`` writes, from the pattern that it was submitted with."""
    base, _, task = job.id.partition("_")
    name = submitted_name(job.name)
    known = {"%%": "%", "%j": job.id, "%A": base, "%a": task or "0", "%x": name}
    return _PATTERN.sub(lambda found: known[found[0]], pattern)


def parse_submitted(output: bytes) -> tuple[str, str]:
    """Read ``sbatch --parsable``; id and cluster (``""`` if not told)."""
    found = _SUBMITTED.match(output)
    if found is None:
        raise odd_answer("to a submission is not an id")
    return found[1].decode(), (found[2] or b"").decode()


def parse_estimate(stderr: bytes) -> datetime | None:
    """Read ``sbatch --test-only``, which answers on stderr; ``None``: no guess."""
    found = _ESTIMATE.search(stderr[:MAX_OUTPUT])
    return future_time(time_of(found[1].decode())) if found else None
