"""What Slurm's accounting allows a user, as values. Pure functions.

Sources, recorded from Slurm 22.05.8 in ``tests/rigs/slurm/recorded``:
``sacctmgr show user withassoc``, ``show assoc`` and ``show qos``. ``sacctmgr`` shows
limits that a user's association inherits as the user's own, except group limits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from ..errors import SchedulerUnavailable
from ..scheduler import UserLimits
from .cluster import number_of
from .lines import lines_of
from .notation import parse_duration

_GRP_GPUS = re.compile(r"(?:^|,)gres/gpu=([0-9]{1,9})(?:,|$)")

USER_FIELDS = ("DefaultAccount", "Cluster", "Account", "Partition", "QOS")
USER_LIMIT_FIELDS = ("MaxJobs", "MaxSubmit", "MaxWall", "GrpTRES")
_SACCTMGR = ("sacctmgr", "--noheader", "--parsable2", "show")


@dataclass(slots=True)
class Associations:
    """What ``sacctmgr`` says about one user, before the accounts' own limits.

    Attributes:
        default_account: ``""`` if there is none.
        qos: by account.
        max_jobs, max_submit: of each association, ``None`` for no limit.
        max_time, max_gpus: by account, where one is set.
    """

    default_account: str = ""
    qos: dict[str, frozenset[str]] = field(default_factory=dict)
    max_jobs: list[int | None] = field(default_factory=list)
    max_submit: list[int | None] = field(default_factory=list)
    max_time: dict[str, timedelta] = field(default_factory=dict)
    max_gpus: dict[str, int] = field(default_factory=dict)


def parse_user(output: bytes) -> Associations:
    """Read ``sacctmgr show user withassoc`` with the fields of ``user_argv``.

    Raises:
        SchedulerUnavailable: a line has another number of fields.
    """
    found = Associations()
    rows = _rows(output, 9)
    if len(rows) != len(lines_of(output)):  # all of it is this user's own
        raise SchedulerUnavailable("sacctmgr's answer does not fit.")
    for default, _, account, _, qos, jobs, submit, wall, group in rows:
        found.default_account = default
        known = found.qos.get(account, frozenset())
        found.qos[account] = known | frozenset(filter(None, qos.split(",")))
        found.max_jobs.append(number_of(jobs))
        found.max_submit.append(number_of(submit))
        if limit := parse_duration(wall):
            # There may be several, by partition: nothing is refused too early.
            found.max_time[account] = max(limit, found.max_time.get(account, limit))
        if gpus := _GRP_GPUS.search(group):
            found.max_gpus[account] = int(gpus[1])
    return found


def parse_accounts(output: bytes) -> dict[str, int]:
    """Read ``sacctmgr show assoc`` of accounts; their group limits of GPUs.

    Raises:
        SchedulerUnavailable: it is cut off, or no line fits.
    """
    limits = {}
    for account, group in _rows(output, 2):
        if gpus := _GRP_GPUS.search(group):
            limits[account] = int(gpus[1])
    return limits


def parse_qos(output: bytes) -> dict[str, timedelta]:
    """Read ``sacctmgr show qos``; the longest time limit of those that have one.

    Raises:
        SchedulerUnavailable: it is cut off, or no line fits.
    """
    limits = {}
    for name, wall in _rows(output, 2):
        if limit := parse_duration(wall):
            limits[name] = limit
    return limits


def user_limits(
    user: Associations, accounts: Mapping[str, int], qos: Mapping[str, timedelta]
) -> UserLimits:
    """Put the limits of a user, of the accounts and of each QoS together."""
    gpus = dict(accounts)
    for account, number in user.max_gpus.items():
        gpus[account] = min(number, gpus.get(account, number))
    return UserLimits(
        accounts=user.qos,
        default_account=user.default_account or None,
        max_jobs=_widest(user.max_jobs),
        max_submit=_widest(user.max_submit),
        max_gpus=gpus or None,
        max_time=user.max_time or None,
        max_time_qos=dict(qos) or None,
    )


def _rows(output: bytes, width: int) -> list[list[str]]:
    """A line with another number of fields is left out: its limit then refuses none."""
    lines = lines_of(output)
    rows = [row for row in (line.split("|") for line in lines) if len(row) == width]
    if lines and not rows:
        raise SchedulerUnavailable("sacctmgr's answer does not fit.")
    return rows


def _widest(limits: list[int | None]) -> int | None:
    """Limits are per association: the widest, so that nothing is refused too early."""
    numbers = [limit for limit in limits if limit is not None]
    return max(numbers) if numbers and len(numbers) == len(limits) else None


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
