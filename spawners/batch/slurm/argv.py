"""Arguments of Slurm's commands: pure functions from our values to argv.

Nothing here is quoted, because nothing here reaches a shell. No value of a job's
environment is ever in argv, which everybody on the machine can read.

Times are asked for as seconds since the epoch (``SLURM_TIME_FORMAT=%s`` in
:data:`CLIENT_ENVIRONMENT`): Slurm else prints local time without a zone, and sacct
cuts longer formats at 19 characters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType

from ..models import BatchJob, JobSpec, Resources

CLIENT_ENVIRONMENT: Mapping[str, str] = MappingProxyType({"SLURM_TIME_FORMAT": "%s"})

#: Fields of a listing of everybody's jobs. None of them is text that a user wrote
#: (no name, comment or path): a newline in a job's name forges a line about
#: somebody else's job. The reason is prose in some states and therefore the last.
LISTING_FIELDS = (
    "JobArrayID",
    "UserID",
    "SubmitTime",
    "State",
    "NodeList",
    "StartTime",
    "EndTime",
    "PriorityLong",
    "Partition",
    "RestartCnt",
    "exit_code",
    "Reason",
)
#: Fields of a look-up by name. ``UserName`` is an account's name, not free text.
NAMED_FIELDS = ("JobArrayID", "UserID", "UserName", "SubmitTime", "State", "NodeList")
ACCOUNTING_FIELDS = (
    "JobID",
    "UID",
    "Submit",
    "Start",
    "End",
    "State",
    "ExitCode",
    "NodeList",
)
NODE_FIELDS = (
    "NodeList",
    "NodeAddr",
    "StateLong",
    "CPUsState",
    "Memory",
    "Gres",
    "GresUsed",
    "Partition",
)
USER_FIELDS = ("DefaultAccount", "Cluster", "Account", "Partition", "QOS")
USER_LIMIT_FIELDS = ("MaxJobs", "MaxSubmit", "MaxWall", "GrpTRES")

_ID = re.compile(r"[0-9]{1,10}(_[0-9]{1,7})?\Z")
_SECOND = timedelta(seconds=1)
_MIB = 1024**2


def sbatch_argv(spec: JobSpec, *, test_only: bool = False) -> list[str]:
    """Return the command that submits ``spec``, its script on standard input.

    ``--parsable`` makes the answer ``id`` or ``id;cluster``. With ``test_only`` the
    answer is a guess of the start, on stderr.
    """
    argv = ["sbatch", "--test-only" if test_only else "--parsable"]
    # Else the job gets our own process's limits (open files, memory), not its node's.
    argv.append("--propagate=NONE")
    argv += spec.options
    argv += [
        f"--job-name={spec.name}",
        f"--chdir={spec.workdir}",
        f"--output={spec.output or '/dev/null'}",
        f"--export={_export(spec.environment)}",
        "--requeue" if spec.requeue else "--no-requeue",
    ]
    if spec.comment:
        argv.append(f"--comment={spec.comment}")
    if spec.warn_before is not None:
        argv.append(f"--signal=B:USR1@{_warning_seconds(spec.warn_before)}")
    return argv + resources_argv(spec.resources)


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
    if resources.array_size is not None:
        argv.append(f"--array=0-{resources.array_size - 1}")
    return argv


def format_minutes(limit: timedelta) -> str:
    """Return a time limit in whole minutes, rounded up: Slurm counts no seconds."""
    return str(-(-limit // timedelta(minutes=1)))


def _warning_seconds(before: timedelta) -> int:
    return min(65535, max(1, before // _SECOND))


def _export(environment: Mapping[str, str]) -> str:
    """Name the variables, never their values; ``NIL`` for none at all."""
    return ",".join(sorted(environment)) or "NIL"


def listing_argv(*, cluster: str = "") -> list[str]:
    """Return the command that lists all jobs, ended ones too, arrays expanded.

    ``--all`` includes partitions that are hidden from this account.
    """
    return [*_squeue(LISTING_FIELDS), *_clusters(cluster)]


def named_argv(names: Iterable[str], *, user: str = "", cluster: str = "") -> list[str]:
    """Return the command that lists the jobs submitted under ``names``."""
    argv = [*_squeue(NAMED_FIELDS), f"--name={','.join(sorted(names))}"]
    if user:
        argv.append(f"--user={user}")
    return [*argv, *_clusters(cluster)]


def one_job_argv(job: BatchJob) -> list[str]:
    """Return the command that lists one id only: the controller's cheapest query."""
    return some_jobs_argv([job], cluster=job.cluster)


def some_jobs_argv(jobs: Collection[BatchJob], *, cluster: str = "") -> list[str]:
    """Return the command that lists these ids only."""
    ids = ",".join(sorted({checked_id(job) for job in jobs}))
    return [*_squeue(LISTING_FIELDS), f"--jobs={ids}", *_clusters(cluster)]


def accounting_argv(jobs: Collection[BatchJob], *, cluster: str = "") -> list[str]:
    """Return the command that reads what the accounting knows of ``jobs``.

    The names are a filter and never printed. ``--duplicates`` gives every row of
    an id, since ids come back and requeued jobs get a second row.

    Raises:
        ValueError: no job, which sacct would take for "all jobs".
    """
    ids = sorted({checked_id(job) for job in jobs})
    if not ids:
        raise ValueError("sacct without an id lists every job")
    names = ",".join(sorted({job.name for job in jobs}))
    return [*_SACCT, f"--jobs={','.join(ids)}", f"--name={names}", *_clusters(cluster)]


def accounting_by_name_argv(name: str, *, user: str) -> list[str]:
    """Return the command that looks for a name of the last seven days."""
    since = "--starttime=now-7days"
    return [*_SACCT, f"--name={name}", f"--user={user}", since]


def scancel_argv(job: BatchJob) -> list[str]:
    """Return the command that ends ``job``; to be run as the job's own user."""
    return ["scancel", *_clusters(job.cluster), checked_id(job)]


def config_argv() -> list[str]:
    """Return the command that prints the controller's configuration."""
    return ["scontrol", "show", "config"]


def partitions_argv() -> list[str]:
    """Return the command that prints one line for each partition."""
    return ["scontrol", "--all", "--oneliner", "show", "partition"]


def nodes_argv() -> list[str]:
    """Return the command that prints one line for each node in each partition."""
    fields = _suffixed(NODE_FIELDS)
    return ["sinfo", "--noheader", "--Node", "--all", f"--Format={fields}"]


def user_argv(user: str, cluster: str) -> list[str]:
    """Return the command that prints the associations of ``user``."""
    fields = ",".join((*USER_FIELDS, *USER_LIMIT_FIELDS))
    where = ["where", f"name={user}", f"cluster={cluster}"]
    return [*_SACCTMGR, "user", *where, "withassoc", f"format={fields}"]


def accounts_argv(accounts: Collection[str], cluster: str) -> list[str]:
    """Return the command that prints the group limits of ``accounts``."""
    names = ",".join(sorted(accounts))
    where = ["where", f"account={names}", "user=", f"cluster={cluster}"]
    return [*_SACCTMGR, "assoc", *where, "format=Account,GrpTRES"]


def qos_argv() -> list[str]:
    """Return the command that prints every QoS and its longest time limit."""
    return [*_SACCTMGR, "qos", "format=Name,MaxWall"]


def output_path(pattern: str, job: BatchJob) -> str:
    """Return where ``job`` writes, from the pattern that it was submitted with."""
    base, _, task = job.id.partition("_")
    known = {"%%": "%", "%j": job.id, "%A": base, "%a": task or "0", "%x": job.name}
    return re.sub(r"%[%jAax]", lambda found: known[found[0]], pattern)


def checked_id(job: BatchJob) -> str:
    """Return the id for a command line.

    Raises:
        ValueError: it is none of Slurm's, e.g. empty, which means "all" to sacct.
    """
    if not _ID.match(job.id):
        raise ValueError(f"{job.id[:40]!r} is no id of Slurm's")
    return job.id


def _suffixed(fields: Sequence[str]) -> str:
    """A suffix in the place of a width: columns are then not cut."""
    return ",".join(f"{field}:|" for field in fields)


def _squeue(fields: Sequence[str]) -> list[str]:
    listing = ["squeue", "--noheader", "--all", "--array", "--states=all"]
    return [*listing, f"--Format={_suffixed(fields)}"]


def _clusters(cluster: str) -> list[str]:
    return [f"--clusters={cluster}"] if cluster else []


_SACCT = (
    "sacct",
    "--allocations",
    "--noheader",
    "--parsable2",
    "--duplicates",
    "--allusers",
    f"--format={','.join(ACCOUNTING_FIELDS)}",
)
_SACCTMGR = ("sacctmgr", "--noheader", "--parsable2", "show")
