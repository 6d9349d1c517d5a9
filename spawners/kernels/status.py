"""Where a kernel is and what became of it, in words. No I/O."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from spawners.batch.explain.ends import explain_end
from spawners.batch.explain.failure import Failure
from spawners.batch.explain.vocabulary import KERNEL
from spawners.batch.models import BatchJob, JobState, JobStatus, Resources


@dataclass(frozen=True, slots=True)
class KernelStatus:
    """Where a kernel is, for people and programs.

    Attributes:
        phase: ``"intent"``, ``"queued"``, ``"starting"``, ``"running"``, ``"lost"``
            (nothing is heard of it at the moment) or ``"ended"``.
        words: one line.
        job: its identity, once there is one.
        resources: what it asked for.
        reading: the scheduler's last trusted word: place, reason, nodes, times.
        host: the node's name, once the kernel runs.
        warned: when the scheduler said that the time limit is near.
        notes: what the user should know of the start.
        exit_code: of the kernel's last run, if that ended.
        out_of_memory: whether that was for memory.
        failure: why the job ended, or the kernel died.
    """

    phase: str
    words: str
    job: BatchJob | None
    resources: Resources
    reading: JobStatus
    host: str
    warned: datetime | None
    notes: tuple[str, ...]
    exit_code: int | None
    out_of_memory: bool
    failure: Failure | None


def explain_death(
    code: int, resources: Resources, *, host: str, tail: str, out_of_memory: bool
) -> Failure:
    """Return why a kernel died whose job lives.

    Args:
        code: its exit code; negative: the signal.
        resources: of its job.
        host: the node's name, ``""`` if not known.
        tail: the end of its output.
        out_of_memory: whether the node counted a kill for memory.
    """
    status = JobStatus(
        JobState.OUT_OF_MEMORY if out_of_memory else JobState.FAILED,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        nodes=(host,) if host else (),
    )
    found = explain_end(status, resources, tail, asked=False, vocabulary=KERNEL)
    return replace(found, detail=found.detail.replace("The job", "The kernel"))


_GPU_FACTS = ("index", "utilization", "memory_used", "memory_total")


def read_gpu_use(answer: Mapping[str, object]) -> list[dict[str, int]] | None:
    """Return what a launcher told of its GPUs (``node.kernel.process``), checked."""
    told = answer.get("gpus")
    if not isinstance(told, list):
        return None
    return [
        {name: each[name] for name in _GPU_FACTS}
        for each in told[:64]
        if isinstance(each, dict)
        and all(type(each.get(name)) is int for name in _GPU_FACTS)
    ]


@dataclass(frozen=True, slots=True)
class Missed:
    """What a kernel published to nobody: messages as zmq's frames, oldest first.

    Attributes:
        messages: those that were kept.
        dropped: how many more there were.
    """

    messages: tuple[list[bytes], ...] = ()
    dropped: int = 0

    @classmethod
    def read(cls, answer: Mapping[str, object]) -> Missed:
        """Return what a launcher kept (``iopub_buffer.Ring.take``), checked."""
        told, dropped = answer.get("messages"), answer.get("dropped")
        messages = []
        for each in told if isinstance(told, list) else ():
            with contextlib.suppress(TypeError, ValueError):
                messages.append([base64.b64decode(frame) for frame in each])
        return cls(tuple(messages), dropped if type(dropped) is int else 0)


def cannot_start(why: str, host: str) -> Failure:
    """Return the words for a kernel that its node cannot start."""
    return Failure(
        f"The kernel could not be started{f' on {host}' if host else ''}",
        why,
        "Check that the kernel's environment can be seen on that node.",
    )
