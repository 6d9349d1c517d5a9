"""Why a job ended, with amounts and the next step. No I/O."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass

from spawners.common.text import (
    clean_line,
    clean_log,
    duration_in_words,
    nodes_in_words,
    size_in_words,
)

from ..models import JobState, JobStatus, Resources
from .failure import Failure
from .reasons import explain_reason
from .vocabulary import JOB, Vocabulary


@dataclass(frozen=True, slots=True)
class _End:
    """What the explanations of an end look at."""

    status: JobStatus
    resources: Resources
    log: str
    vocabulary: Vocabulary

    @property
    def what(self) -> str:
        return self.vocabulary.subject

    @property
    def where(self) -> str:
        return f" on {nodes_in_words(self.status.nodes)}" if self.status.nodes else ""


def explain_end(
    status: JobStatus,
    resources: Resources,
    log_tail: str,
    *,
    asked: bool,
    vocabulary: Vocabulary = JOB,
) -> Failure:
    """Return why a job ended, with amounts and the next step.

    Args:
        status: its last reading.
        resources: what it asked for.
        log_tail: the end of its output; cleaned here before it is kept.
        asked: True when its owner or the gateway had asked for the end.
        vocabulary: how people call what ran in it.
    """
    end = _End(status, resources, clean_log(log_tail), vocabulary)
    if asked and status.state is not JobState.OUT_OF_MEMORY:
        return Failure(
            "Stopped",
            f"The job{end.where} was stopped as asked.",
            "Start it again whenever you like.",
            end.log,
        )
    if _was_out_of_memory(end):
        title, detail, hint = _out_of_memory(end)
    elif explain := _BY_STATE.get(status.state):
        title, detail, hint = explain(end)
    else:
        title, detail, hint = _by_log(end) or _by_exit(end)
    return Failure(title, detail, hint, end.log)


_Words = tuple[str, str, str]

_MEMORY_IN_LOG = re.compile(
    r"exceeded (?:job |step )?memory limit|oom[-_ ]kill|out of memory handler"
    r"|Detected \d+ oom",
    re.IGNORECASE,
)


def _was_out_of_memory(end: _End) -> bool:
    status = end.status
    if status.state is JobState.OUT_OF_MEMORY:
        return True
    if status.state not in (JobState.FAILED, JobState.CANCELLED):
        return False
    # linuxproc with OverMemoryKill ends FAILED 0:9 JobLaunchFailure; a shell whose
    # child the kernel killed ends with 128 + 9.
    return bool(_MEMORY_IN_LOG.search(end.log)) or status.exit_code == 137


def _out_of_memory(end: _End) -> _Words:
    asked = end.resources.memory
    sure = end.status.state is JobState.OUT_OF_MEMORY or _MEMORY_IN_LOG.search(end.log)
    detail = "The job used more memory than it may"
    if not sure:
        detail = f"The {end.what} was killed, which most often means too much memory"
    if asked is None:
        return (
            "Out of memory",
            f"{detail}: the partition's default, as no amount was asked for.",
            "Start again and ask for a certain amount of memory.",
        )
    return (
        "Out of memory",
        f"{detail}: {size_in_words(asked)} asked.",
        f"Start again and ask for more: try {size_in_words(2 * asked)}.",
    )


def _time_limit(end: _End) -> _Words:
    limit = end.resources.time_limit
    if limit is None:
        return (
            "Time limit reached",
            "The job ran for the partition's default time, as no time was asked for.",
            "Start again and ask for a certain time.",
        )
    return (
        "Time limit reached",
        f"The job ran for the {duration_in_words(limit)} that were asked for.",
        "Files that were saved are kept. Start again, if need be with more time: "
        f"try {duration_in_words(2 * limit)}.",
    )


def _node_failed(end: _End) -> _Words:
    node = nodes_in_words(end.status.nodes) or "The node"
    verb = "was restarted" if end.status.reason == "Reboot" else "failed"
    return (
        "The node failed",
        f"{node} {verb} while the job ran on it.",
        "Files that were saved are kept. Start again: another node will be used.",
    )


def _preempted(end: _End) -> _Words:
    return (
        "Preempted",
        f"A job with a higher priority took the place of this one{end.where}.",
        "Start again, or choose a partition or QoS that is not preempted.",
    )


def _cancelled(end: _End) -> _Words:
    if end.status.started is None and not end.status.nodes:
        waiting = explain_reason(end.status.reason)
        if waiting.hopeless:
            return (
                "Never started",
                f"The job was taken out of the queue; {waiting.text}.",
                waiting.hint or "Ask for less and start again.",
            )
        return (
            "Cancelled in the queue",
            "The job was cancelled outside Landbridge before it started.",
            "Start again; if it is cancelled again, ask your site's operators.",
        )
    return (
        "Cancelled",
        f"The job{end.where} was cancelled outside Landbridge: by `scancel` under "
        "your account, or by an operator.",
        "Start again; if it is cancelled again, ask your site's operators.",
    )


def _deadline(end: _End) -> _Words:
    return (
        "Deadline missed",
        "The job could not end before its deadline.",
        "Start again with less time.",
    )


def _revoked(end: _End) -> _Words:
    return (
        "Taken over by another cluster",
        "The job was started by another cluster of the federation.",
        "Start again on this cluster.",
    )


_UNUSABLE = {
    "workdir": "The folder that the job starts in",
    "output": "The job's output file",
    "script": "The interpreter of the job's script",
}


def _launch_failed(end: _End) -> _Words:
    if words := _by_log(end):
        return words
    reason = clean_line(end.status.reason)
    # The local scheduler tells the step that failed: "workdir: No such file ...".
    step, _, why = reason.partition(": ")
    if step in _UNUSABLE:
        return (
            "The job could not be started",
            f"{_UNUSABLE[step]} cannot be used{end.where}: {why}.",
            "See that it is there and yours, then start again.",
        )
    said = f": {reason}" if reason not in ("", "None") else ""
    return (
        "The job could not be started",
        f"The node{end.where} could not start the job{said}.",
        "Start again; if it fails again, tell your site's operators.",
    )


def _lost(end: _End) -> _Words:
    return (
        "Lost by the scheduler",
        "The scheduler accepted the job and then forgot it, as happens when its "
        "controller crashes.",
        "Nothing was started twice. Start again.",
    )


_BY_STATE: dict[JobState, Callable[[_End], _Words]] = {
    JobState.TIMEOUT: _time_limit,
    JobState.NODE_FAIL: _node_failed,
    JobState.BOOT_FAIL: _node_failed,
    JobState.RECONFIG_FAIL: _node_failed,
    JobState.PREEMPTED: _preempted,
    JobState.CANCELLED: _cancelled,
    JobState.DEADLINE: _deadline,
    JobState.REVOKED: _revoked,
    JobState.LAUNCH_FAILED: _launch_failed,
    JobState.LOST: _lost,
}

_NO_MODULE = re.compile(r"No module named ['\"]?([A-Za-z0-9_.]{1,80})")
_NO_COMMAND = re.compile(
    r"([A-Za-z0-9_./+-]{1,120}): (?:line \d+: )?(?:command )?not found"
    r"|([A-Za-z0-9_./+-]{1,120}): No such file or directory"
)
_HOME_FULL = re.compile(
    r"ENOSPC|No space left on device|Disk quota exceeded|EDQUOT", re.IGNORECASE
)
_DENIED = re.compile(r"Permission denied|PermissionError|EACCES")
_DENIED_PATH = re.compile(
    r"['\"]?(/[^\s:'\"]{1,200})['\"]?: Permission denied"
    r"|Permission denied: ['\"](/[^\s'\"]{1,200})"
)
# What the agent and the server's shim write into the job's output, but for the news
# that are no reason to end.
_TOLD = re.compile(r"^Landbridge: (?!Waiting|This job's time limit)(.+)$", re.MULTILINE)
_NO_HUB = re.compile(r"cannot be reached from this node|CERTIFICATE_VERIFY_FAILED")
# A traceback or a shell's complaint comes last; the same words further up are a
# warning of something that then worked.
_LAST_LINES = 15


def _by_log(end: _End) -> _Words | None:
    text = "\n".join([clean_line(end.status.reason), *end.log.split("\n")[-60:]])
    where = end.where or " on its node"
    if _HOME_FULL.search(text):
        return (
            "No space left",
            f"The {end.what}{where} could not write its files: the disk or your quota "
            "is full, most likely that of your home.",
            "Delete what you do not need (`du -sh ~/* ~/.[!.]* | sort -h` shows the "
            "largest), then start again.",
        )
    told = _TOLD.findall(text)
    if _NO_HUB.search(text):
        return (
            "The node cannot reach the gateway",
            f"The job started{where}, but could not make a trusted connection to the "
            "gateway.",
            "Start again; if it fails again, tell your site's operators which node "
            "it was.",
        )
    if told and "cannot prove who you are" in told[-1]:
        return (
            "The node cannot prove who you are",
            f"{told[-1]}{_node(end)}",
            "Tell your site's operators: authentication (munge) does not work there.",
        )
    if told and told[-1].startswith("The hub refused this job"):
        return ("The gateway refused the job", told[-1], "Start again.")
    return _by_last_lines(end, "\n".join(text.split("\n")[-_LAST_LINES:]), where)


def _node(end: _End) -> str:
    return f" (node {nodes_in_words(end.status.nodes)})" if end.status.nodes else ""


def _by_last_lines(end: _End, text: str, where: str) -> _Words | None:
    told = _TOLD.findall(text)
    if module := _NO_MODULE.search(text):
        return (
            "A Python package is missing",
            f"Python found no module named {module[1]}{where}.",
            f"{end.vocabulary.advice} Choose another one or "
            f"install the package that holds {module[1]}.",
        )
    command = _NO_COMMAND.search(text)
    if end.status.exit_code == 127 or (command and "not found" in command[0]):
        name = (command[1] or command[2]) if command else f"the {end.what}'s command"
        detail = told[-1] if told and not command else None
        return (
            "Command not found",
            detail or f"The job could not find {name}{where}.",
            f"{end.vocabulary.advice} Choose another one, or "
            "tell your site's operators.",
        )
    if end.status.exit_code == 126 or _DENIED.search(text):
        path = _DENIED_PATH.search(text)
        name = (path[1] or path[2]) if path else "a file or folder that it needs"
        return (
            "Permission denied",
            f"The job may not use {name}{where}.",
            "See that you own the folder it starts in and may write there, then "
            "start again.",
        )
    return None


def _by_exit(end: _End) -> _Words:
    status = end.status
    again = "Read the last lines of its output, then start again."
    if status.reason == "SupervisorLost":
        return (
            "Killed",
            f"The process that watched over the job{end.where} was killed, and the "
            "job with it.",
            "Start it again.",
        )
    if status.signal is not None:
        name = _signal_name(status.signal)
        if status.signal == signal.SIGKILL:
            asked = end.resources.memory
            amount = f" ({size_in_words(asked)} asked)" if asked else ""
            return (
                "Killed",
                f"The job{end.where} was killed from outside ({name}), which may mean "
                f"too much memory{amount}.",
                _more_memory(asked),
            )
        return (
            f"The {end.what} crashed",
            f"The job{end.where} ended by {name}.",
            again,
        )
    if status.exit_code:
        return (
            f"The {end.what} failed (exit code {status.exit_code})",
            f"The job{end.where} ended with exit code {status.exit_code}.",
            again,
        )
    if status.state is JobState.COMPLETED:
        return (
            f"The {end.what} ended",
            f"The job{end.where} ended by itself, without an error.",
            "Start it again whenever you like.",
        )
    return (
        "The job failed",
        f"The job{end.where} failed, and the scheduler told no exit code.",
        again,
    )


def _more_memory(asked: int | None) -> str:
    if asked is None:
        return "Start again and ask for a certain amount of memory."
    return f"Start again; if it is killed again, try {size_in_words(2 * asked)}."


def _signal_name(number: int) -> str:
    try:
        return f"signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"
