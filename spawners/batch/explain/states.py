"""Where a job is and what became of it, in plain words. No I/O."""

from __future__ import annotations

from datetime import datetime

from spawners.common.errors import GatewayError
from spawners.common.text import clean_line, moment_in_words, nodes_in_words

from ..errors import (
    AuthenticationBroken,
    InvalidSpec,
    LimitReached,
    NotPermitted,
    SchedulerUnavailable,
    SubmitRejected,
    SubmitUncertain,
)
from ..models import JobState, JobStatus, Resources
from .amounts import resources_in_words
from .ends import explain_end
from .failure import Failure
from .reasons import explain_reason

__all__ = ["explain_end", "explain_refusal", "explain_state", "starts_by_itself"]

_ON_NODES_WORDS = {
    JobState.CONFIGURING: "The nodes are being prepared",
    JobState.SUSPENDED: "Paused by the scheduler",
    JobState.STOPPED: "Paused by the scheduler, keeping its resources",
    JobState.SIGNALING: "A signal is being sent to it",
    JobState.RESIZING: "Its size is being changed",
    JobState.STAGE_OUT: "Its data are being copied out",
    JobState.COMPLETING: "Ending",
}
_ENDED_WORDS = {
    JobState.COMPLETED: "Ended",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
    JobState.TIMEOUT: "Ended at its time limit",
    JobState.OUT_OF_MEMORY: "Out of memory",
    JobState.NODE_FAIL: "Its node failed",
    JobState.BOOT_FAIL: "Its node could not be started",
    JobState.PREEMPTED: "Preempted by a job with a higher priority",
    JobState.DEADLINE: "Missed its deadline",
    JobState.REVOKED: "Taken over by another cluster",
    JobState.LAUNCH_FAILED: "Could not be started",
    JobState.RECONFIG_FAIL: "Its node could not be prepared",
    JobState.LOST: "Lost by the scheduler",
}


def explain_state(
    status: JobStatus,
    resources: Resources,
    *,
    max_jobs: int | None = None,
    now: datetime | None = None,
) -> str:
    """Return one line, without a full stop, for a progress log or a list.

    Args:
        status: the reading to tell about.
        resources: what the job asked for.
        max_jobs: the user's limit of running jobs, named if it is what blocks.
        now: when it is read; a start on another day is told with its day.
    """
    state = status.state
    if state is JobState.UNKNOWN:
        return "The scheduler has not told yet"
    if state.queued:
        return _explain_queue(status, resources, max_jobs, now)
    if state is JobState.RUNNING:
        where = f" on {nodes_in_words(status.nodes)}" if status.nodes else ""
        if status.ends is not None:
            return f"Running{where} until {moment_in_words(status.ends, now)}"
        return f"Running{where}"
    return _ON_NODES_WORDS.get(state) or _ENDED_WORDS[state]


def _explain_queue(
    status: JobStatus, resources: Resources, max_jobs: int | None, now: datetime | None
) -> str:
    if status.state is JobState.REQUEUE_HOLD:
        return "Waiting: its last run failed and it is held"
    if status.state is JobState.RESV_DEL_HOLD:
        return "Waiting: its reservation is gone and it is held"
    if status.state is JobState.SPECIAL_EXIT:
        return "Waiting: held after a special exit of its last run"
    waiting = explain_reason(status.reason, max_jobs=max_jobs)
    if waiting.hopeless:
        return f"Will not start: {waiting.text}"
    facts = []
    if status.queue_place is not None:
        facts.append(f"number {status.queue_place} in line")
    if status.estimated_start is not None:
        facts.append(f"estimated start {moment_in_words(status.estimated_start, now)}")
    again = "again " if status.restarts or status.state is not JobState.PENDING else ""
    if status.reason in ("Priority", "Resources", "None", "") and facts:
        return f"Waiting {again}in the queue: {', '.join(facts)}"
    text = waiting.text
    if status.reason == "Resources" and resources.gpus:
        text += f" ({resources_in_words(resources)})"
    return f"Waiting{again and ' again'}: " + "; ".join([text, *facts])


def starts_by_itself(status: JobStatus) -> bool:
    """Return False for a queued job that waits for somebody to change something."""
    return not (
        status.state
        in (JobState.REQUEUE_HOLD, JobState.RESV_DEL_HOLD, JobState.SPECIAL_EXIT)
        or (status.state.queued and explain_reason(status.reason).hopeless)
    )


def explain_refusal(error: GatewayError) -> Failure:
    """Return why a job was not even submitted, with the next step."""
    title, hint = "Could not be submitted", "Try again; if it fails again, tell us."
    for kind, words in _REFUSALS:
        if isinstance(error, kind):
            title, hint = words
            break
    detail = clean_line(error.message, 500)
    return Failure(title, detail, clean_line(error.hint, 500) or hint)


_REFUSALS: tuple[tuple[type[GatewayError], tuple[str, str]], ...] = (
    (InvalidSpec, ("Not a valid request", "Change the value and start again.")),
    (
        LimitReached,
        ("A limit is reached", "Stop something else of yours, then start again."),
    ),
    (
        SubmitRejected,
        ("Refused by the scheduler", "Ask for something else and start again."),
    ),
    (
        SubmitUncertain,
        (
            "The scheduler's answer was lost",
            "Wait a minute: if the job was taken after all, it is found and used.",
        ),
    ),
    (
        SchedulerUnavailable,
        ("The scheduler does not answer", "Try again in a few minutes."),
    ),
    (
        AuthenticationBroken,
        (
            "The scheduler does not accept the gateway",
            "Tell your site's operators: authentication (munge) is broken.",
        ),
    ),
    (
        NotPermitted,
        (
            "Not permitted",
            "Tell your site's operators: the gateway may not run jobs as you.",
        ),
    ),
)
