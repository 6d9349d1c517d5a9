"""What Slurm's commands complain about, as our errors.

Exit codes tell nothing (1 is "refused" as well as "controller down"), so that
stderr is searched for the texts below. They are Slurm's own, recorded from 22.05.8
(``tests/rigs/slurm/recorded/stderr.txt``) and its ``slurm_errno`` table.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from spawners.batch.errors import BatchError

from ..errors import (
    AuthenticationBroken,
    LimitReached,
    NotPermitted,
    SchedulerUnavailable,
    SubmitRejected,
    SubmitUncertain,
)
from ..models import BatchJob
from .notation import expand_numbers

_AUTHENTICATION = (
    "Munge encode failed",
    "Munge decode failed",
    "authentication error",
    "Protocol authentication error",
    "Zero Bytes were transmitted or received",
    "Invalid authentication credential",
    "auth_g_create",
)
_AWAY = (
    "Unable to contact slurm",
    "Socket timed out",
    "connect failure",
    "Communication connection failure",
    "Communication shutdown failure",
    "Message send failure",
    "Message receive failure",
    "Unexpected message received",
    "Unexpected missing socket",
    "Insane message length",
    "Received zero length message",
    "Received message length",
    "Failed to send entire message",
    "Header lengths are longer",
    "Incompatible versions",
    "Can't find an address",
    "in standby mode",
    "try again",
    "temporarily unable",
    "Resource temporarily unavailable",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Broken pipe",
    "No route to host",
    "Network is unreachable",
    "Transport endpoint",
    "Unable to process configuration file",
    "cannot stat file",
)
_LIMIT = (
    "Job violates accounting/QOS policy",
    "MaxSubmitJob",
    "MaxJobs",
    "GrpSubmit",
    "Job submit limit",
    "too many jobs",
    "Maximum number of jobs",
)
_PERMISSION = (
    "Access/permission denied",
    "a password is required",
    "is not in the sudoers file",
    "only permitted by root",
)
# Text of sbatch, resource to blame, what a user reads. The first that fits counts.
_REFUSED = (
    ("invalid partition", "partition", "There is no such partition."),
    ("partition not available", "partition", "The partition takes no jobs now."),
    ("group not permitted", "partition", "Your groups may not use this partition."),
    ("no partition specified", "partition", "No partition was chosen."),
    ("invalid account", "account", "You may not use this account or partition."),
    ("account not permitted", "account", "Your account may not use this partition."),
    ("invalid qos", "qos", "You may not use this quality of service (QoS)."),
    ("requested reservation", "reservation", "This reservation is not usable."),
    ("invalid feature", "constraint", "No node has the features asked for."),
    ("invalid preferred feature", "constraint", "No node has these features."),
    ("invalid --time", "time_limit", "The time limit is malformed."),
    ("requested time limit", "time_limit", "The time limit is longer than allowed."),
    ("memory specification", "memory", "No node has that much memory."),
    ("memory required", "memory", "No node has that much memory."),
    ("gres", "gpus", "There are no such GPUs here."),
    ("cpu count", "cpus", "No node has that many cores."),
    ("more processors", "cpus", "That is more cores than allowed."),
    ("node count", "nodes", "There are not that many nodes."),
    ("invalid node name", "nodes", "There is no such node."),
    ("job array", "count", "That is more equal jobs at once than allowed."),
    ("node configuration", "", "No node can ever run this job."),
    ("look like a batch script", "", "The job's script is malformed."),
    ("parameter too long", "", "The job's script or a path in it is too long."),
    ("unrecognized option", "", "A scheduler option of this site is unknown."),
    ("invalid option", "", "A scheduler option of this site is invalid."),
    ("batch job submission failed", "", "Slurm refused the job."),
    ("allocation failure", "", "Slurm would refuse the job."),  # of --test-only
)
_ALREADY_OVER = (
    "Invalid job id specified",
    "already completing or completed",
    "Job/step already",
)
_NOT_CANCELLED = re.compile(rb"Kill job error on job id ([0-9_,\[\]-]+): ([^\n]*)")
_FAILED = "Batch job submission failed: "
_COMPLAINT = re.compile(r"\b(error|fatal|failure|failed)\b", re.IGNORECASE)


def words_of(stderr: bytes) -> str:
    """Return the start of stderr as text to search in, never to be trusted."""
    return stderr[:16_384].decode(errors="replace")


def complains(stderr: bytes) -> bool:
    """Tell whether a command that succeeded spoke of an error.

    ``squeue --user`` of an unknown user exits with 0 and lists nothing. Mere
    warnings, such as sudo's about a host name, do not count.
    """
    return bool(_COMPLAINT.search(words_of(stderr)))


def submit_error(stderr: bytes) -> BatchError:
    """Return what a failed ``sbatch`` means.

    A failure that is not clearly a refusal is :class:`SubmitUncertain`: the
    controller may have taken the job, or take it later.
    """
    words = words_of(stderr)
    said = _said(words)
    if _any(words, _PERMISSION):
        return NotPermitted(f"sbatch may not run as this user: {said}")
    if _any(words, ("Munge encode failed", "auth_g_create")):
        return _broken(said)  # the message was never sent
    if _any(words, _AUTHENTICATION) or _any(words, _AWAY):
        return _uncertain(said)
    if _any(words, _LIMIT):
        return LimitReached(
            "A limit on your jobs is reached.",
            hint=f"End a job and try again. Slurm says: {said}",
        )
    for text, field, message in _REFUSED:
        if text in words.lower():
            return SubmitRejected(message, field=field, hint=f"Slurm says: {said}")
    return _uncertain(said)


def query_error(command: str, stderr: bytes) -> BatchError:
    """Return what the failure of a query (``squeue``, ``sacct``, …) means."""
    words = words_of(stderr)
    said = _said(words)
    if _any(words, _AUTHENTICATION):
        return _broken(said)
    if _any(words, _PERMISSION):
        return NotPermitted(f"{command} may not run here: {said}")
    return SchedulerUnavailable(
        f"{command} did not answer: {said or 'no words'}", hint="It is asked again."
    )


def cancel_error(stderr: bytes) -> BatchError | None:
    """Return what a failed ``scancel`` means; ``None``: the job is over already."""
    words = words_of(stderr)
    if _any(words, _ALREADY_OVER) and not _any(words, _PERMISSION):
        return None
    return query_error("scancel", stderr)


def cancel_errors(
    jobs: Collection[BatchJob], stderr: bytes
) -> dict[BatchJob, BatchError]:
    """Return what a failed ``scancel`` of ``jobs`` means for those that it did not end.

    It complains of each word that it was given (:func:`.notation.id_words`); where it
    complains of none of them, nothing was ended.
    """
    failures: dict[str, BatchError | None] = {}
    for word, words in _NOT_CANCELLED.findall(stderr):
        for job_id in expand_numbers(word.decode()):
            failures[job_id] = cancel_error(words)
    if not failures:
        failures = {job.id: cancel_error(stderr) for job in jobs}
    return {job: error for job in jobs if (error := failures.get(job.id)) is not None}


def _broken(said: str) -> AuthenticationBroken:
    return AuthenticationBroken(
        f"Slurm does not accept who we are: {said}",
        hint="An operator must look at munge on this machine.",
    )


def _uncertain(said: str) -> SubmitUncertain:
    return SubmitUncertain(
        f"Slurm did not say whether it took the job: {said or 'no words'}",
        hint="It is looked for before anything else is submitted.",
    )


def _any(words: str, texts: tuple[str, ...]) -> bool:
    low = words.lower()
    return any(text.lower() in low for text in texts)


def _said(words: str) -> str:
    """Return the last lines that say something, printable and short.

    Sites explain a refusal (``job_submit.lua``) in the lines before the last.
    """
    lines = []
    for line in words.split("\n"):
        for prefix in ("sbatch: ", "error: ", "fatal: ", _FAILED):
            line = line.strip().removeprefix(prefix)
        if line:
            lines.append("".join(c if c.isprintable() else "?" for c in line))
    return " / ".join(lines[-3:])[:400]
