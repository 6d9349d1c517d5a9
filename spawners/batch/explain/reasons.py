"""Slurm's reasons for a job that waits, in plain words.

The words are those of ``job_state_reason_string()`` as ``squeue -o %r`` prints them
(Slurm 22.05 recorded, the names up to 25.11 known from ``squeue(1)``). In some
states the controller answers with prose instead; that is shown as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spawners.common.text import clean_line, count_in_words


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a job waits.

    Attributes:
        text: a clause that completes "Waiting: …", without a full stop.
        hopeless: True when it will not start until somebody changes something.
        hint: what to do then, or ``""``.
    """

    text: str
    hopeless: bool = False
    hint: str = ""


_ASK_LESS = "Ask for less or choose another partition."
_OTHER_PARTITION = "Choose another partition."
_OTHER_ACCOUNT = "Choose another account or partition."
_OPERATOR = "Ask your site's operators."

_KNOWN = {
    # Nothing is wrong: it is not its turn yet.
    "None": Waiting("the scheduler has not looked at it yet"),
    "Priority": Waiting("jobs with a higher priority come first"),
    "Resources": Waiting("what you asked for is in use now"),
    "BeginTime": Waiting("it may not start before a set time, as after a requeue"),
    "Dependency": Waiting("another job must end first"),
    "Cleaning": Waiting("its last run is still being cleaned up"),
    "Prolog": Waiting("the node is being prepared"),
    "Licenses": Waiting("all licences that it needs are in use"),
    "Reservation": Waiting("its reservation has not begun"),
    "SchedDefer": Waiting("the scheduler is busy and looks at it later"),
    "FedJobLock": Waiting("the clusters are deciding which of them takes it"),
    "NodeDown": Waiting("a node that it needs is down"),
    "FrontEndDown": Waiting("no front-end node is up"),
    "JobArrayTaskLimit": Waiting("enough jobs of its array run already"),
    "PartitionDown": Waiting("the partition starts no jobs at the moment"),
    "PartitionInactive": Waiting("the partition is switched off", hint=_OPERATOR),
    "ReservationDeleted": Waiting(
        "its reservation is gone", hopeless=True, hint="Choose no reservation."
    ),
    "BurstBufferResources": Waiting("the burst buffer is full"),
    "BurstBufferStageIn": Waiting("its data are being copied in"),
    "BurstBufferOperation": Waiting(
        "the burst buffer had an error", hopeless=True, hint=_OPERATOR
    ),
    # It will not start as it is.
    "PartitionTimeLimit": Waiting(
        "the time asked for is more than the partition allows",
        hopeless=True,
        hint="Ask for less time or another partition.",
    ),
    "PartitionNodeLimit": Waiting(
        "the number of nodes is outside what the partition allows, or they are down",
        hopeless=True,
        hint=_ASK_LESS,
    ),
    "PartitionConfig": Waiting(
        "the partition cannot fulfil what was asked for", hopeless=True, hint=_ASK_LESS
    ),
    "AccountNotAllowed": Waiting(
        "the account is not allowed in this partition",
        hopeless=True,
        hint=_OTHER_ACCOUNT,
    ),
    "InvalidAccount": Waiting(
        "the account is not valid", hopeless=True, hint=_OTHER_ACCOUNT
    ),
    "InvalidQOS": Waiting(
        "the quality of service (QoS) is not valid",
        hopeless=True,
        hint="Choose another QoS.",
    ),
    "QOSNotAllowed": Waiting(
        "the quality of service (QoS) is not allowed here",
        hopeless=True,
        hint="Choose another QoS or partition.",
    ),
    "BadConstraints": Waiting(
        "no node has what was asked for", hopeless=True, hint=_ASK_LESS
    ),
    "DependencyNeverSatisfied": Waiting(
        "the job that it waits for failed",
        hopeless=True,
        hint="Start again.",
    ),
    "InactiveLimit": Waiting(
        "the system's limit for inactive jobs was reached", hopeless=True
    ),
    "DeadLine": Waiting(
        "it cannot end before its deadline", hopeless=True, hint="Ask for less time."
    ),
    "JobHeldAdmin": Waiting("an operator holds it back", hint=_OPERATOR),
    "JobHeldUser": Waiting(
        "it was put on hold under your account",
        hint="Release it with `scontrol release`, or stop this start and start again.",
    ),
    "JobHoldMaxRequeue": Waiting(
        "it was started again too often and is held", hopeless=True, hint=_OPERATOR
    ),
    "ReqNodeNotAvail": Waiting("a node that it needs is not available now"),
    "NodeNotAvail": Waiting("a node that it needs is not available now"),
    "QOSUsageThreshold": Waiting("your recent use is above the threshold of its QoS"),
    "QOSJobLimit": Waiting("a limit of its QoS is reached"),
    "QOSResourceLimit": Waiting("a limit of its QoS is reached"),
    "QOSTimeLimit": Waiting("the time limit of its QoS is reached"),
    "ResourceLimit": Waiting("a limit on resources is reached"),
    "AssociationJobLimit": Waiting("a limit of your account is reached"),
    "AssociationResourceLimit": Waiting("a limit of your account is reached"),
    "AssociationTimeLimit": Waiting("the time limit of your account is reached"),
    "SystemFailure": Waiting("the scheduler had an error", hint=_OPERATOR),
    "JobLaunchFailure": Waiting("its last start failed on the node", hint=_OPERATOR),
    "Local": Waiting("all slots of this machine are in use"),
}

# "AssocGrpCPURunMinutesLimit", "QOSMaxGRESPerUser", "AssocMaxJobsLimit", ...
_LIMIT = re.compile(
    r"(?P<owner>Assoc|QOS)(?P<kind>Grp|Max|Min)(?P<what>[A-Za-z/]+?)"
    r"(?P<time>RunMins|RunMinutes|Mins|Minutes)?"
    r"(?P<per>PerJob|PerUser|PerAccount|PerAcct|PerNode|PJ|PU|PA)?(?:Limit|NotSatisfied)?"
)
_WHAT = {
    "cpu": "CPUs",
    "cpus": "CPUs",
    "gres": "GPUs",
    "mem": "memory",
    "memory": "memory",
    "node": "nodes",
    "nodes": "nodes",
    "job": "running jobs",
    "jobs": "running jobs",
    "submit": "jobs in the queue",
    "submitjob": "jobs in the queue",
    "submitjobs": "jobs in the queue",
    "wall": "time",
    "walldur": "time",
    "wallduration": "time",
    "billing": "billing units",
    "energy": "energy",
    "bb": "burst buffer",
    "lic": "licences",
    "license": "licences",
}


def explain_reason(reason: str, *, max_jobs: int | None = None) -> Waiting:
    """Return in plain words why a job with this ``reason`` waits.

    Args:
        reason: the scheduler's word or prose; a detail after ``,`` is kept aside.
        max_jobs: the user's own limit of running jobs, if known, to be named.
    """
    word = reason.split(",", 1)[0].strip() if "," in reason else reason.strip()
    known = _KNOWN.get(word) or _KNOWN.get(word.replace("_", ""))
    if known is not None:
        return known
    if limit := _LIMIT.fullmatch(word):
        return _explain_limit(limit, max_jobs)
    text = clean_line(reason)
    lowered = text.lower()
    if "not permitted to use this partition" in lowered:
        return Waiting(_lower_first(text), hopeless=True, hint=_OTHER_ACCOUNT)
    if lowered.startswith("nodes required for job are down"):
        return Waiting(
            "nodes that it needs are down or reserved for jobs of higher priority"
        )
    if "launch failed requeued held" in lowered:
        return Waiting(
            "its start failed on the node and it is held",
            hopeless=True,
            hint="Start again.",
        )
    if not text:
        return _KNOWN["None"]
    return Waiting(f"the scheduler says “{text}”")


def _explain_limit(match: re.Match[str], max_jobs: int | None) -> Waiting:
    what = _WHAT.get(match["what"].lower(), match["what"])
    source = "your account" if match["owner"] == "Assoc" else "its QoS"
    per = match["per"] or ""
    if match["kind"] == "Min":
        return Waiting(
            f"{source} demands more {what} than was asked for",
            hopeless=True,
            hint="Ask for more, or choose another QoS.",
        )
    if match["time"]:
        return Waiting(
            f"the budget of {what} time of {source} is used up for now",
            hint="Ask for less time, or use another account.",
        )
    if match["kind"] == "Grp":
        shared = "all members of your account" if source == "your account" else source
        return Waiting(f"{shared} together may use no more {what} at once")
    if per in ("PerJob", "PJ", "PerNode") or what == "time":
        each = "node" if per == "PerNode" else "job"
        return Waiting(
            f"it asks for more {what} than {source} allows one {each}",
            hopeless=True,
            hint=_ASK_LESS,
        )
    if what == "running jobs":
        count = count_in_words(max_jobs, "running job") if max_jobs else "running jobs"
        said = f"limit of {count}" if max_jobs else "your limit of running jobs"
        return Waiting(f"another job of yours must end first ({said})")
    return Waiting(f"you use as many {what} as {source} allows you at once")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
