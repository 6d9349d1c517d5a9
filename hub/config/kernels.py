"""What a notebook server is told about kernels that are jobs of their own.

It asks the jobs service for them, with the token of its own job, so it gets what the
user may know anyway: profiles, limits, and where that service is. Nothing of it is
secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any  # JSON

from pydantic import Field, field_validator

from spawners.common.settings import Duration, Section
from spawners.kernels.settings import KernelSettings
from spawners.profiles.profiles import Profile, Profiles

_PORTS = re.compile(r"([0-9]{4,5})-([0-9]{4,5})\Z")


class KernelsSection(Section):
    """Kernels that run as jobs of their own, beside the notebook server's job."""

    enabled: bool = Field(
        default=True,
        description="Offer every kernel as a job, too, with the resources of a "
        "profile.",
    )
    profiles: str = Field(
        "",
        description="What users may pick for kernels; relative to this file's "
        "directory. Empty: `jobs.profiles`.",
    )
    ports: str = Field(
        "",
        description="Ports that kernels' jobs and notebook servers listen on for each "
        'other, as "40000-40999". Empty: whatever the system gives.',
    )
    lease: Duration = Field(
        timedelta(minutes=5),
        description="How long a kernel's job waits for its notebook server to come "
        "back before it ends itself.",
    )
    keep_limit: Duration = Field(
        timedelta(days=3),
        description="The longest that users may keep a kernel that is idle or has no "
        "server any more.",
    )
    idle_after: Duration = Field(
        timedelta(hours=1),
        description="A kernel with GPUs is ended when neither it nor a GPU has "
        "computed anything for so long. 0: never.",
    )
    idle_after_cpu: Duration = Field(
        timedelta(0), description="The same for kernels without GPUs. 0: never."
    )
    idle_warning: Duration = Field(
        timedelta(minutes=5),
        description="How long before that its user is warned in the notebook.",
    )
    logs: str = Field(
        "",
        description="Directory of the kernels' output, which nodes must see; `none` "
        "where notebook servers and kernels share no file system. Empty: below the "
        "user's home.",
    )

    @field_validator("ports")
    @classmethod
    def _is_a_range(cls, ports: str) -> str:
        match = _PORTS.match(ports)
        if ports and not (match and 1024 <= int(match[1]) <= int(match[2]) <= 65_535):
            raise ValueError('must be like "40000-40999", from 1024 to 65535')
        return ports


@dataclass(frozen=True, slots=True)
class KernelOffer:
    """Makes the file that a notebook server reads as ``LANDBRIDGE_KERNEL_CONFIG``.

    Attributes:
        section: the site's settings.
        profiles: what may be picked; ``None`` lets everything be chosen.
        scheduler: ``"slurm"`` or ``"local"``.
        url: where jobs reach the jobs service.
    """

    section: KernelsSection
    profiles: Profiles | None
    scheduler: str
    url: str

    def config_for(
        self,
        user: str,
        groups: Collection[str],
        *,
        account: str,
        admin: bool,
        home: Path | None,
    ) -> str:
        """Return the file's text for one user.

        Args:
            user: JupyterHub's name.
            groups: those that the user is in.
            account: that the user's jobs run as.
            admin: whether all profiles are open to the user.
            home: the user's directory where all jobs run as one account, else
                ``None``: the account's own home serves.
        """
        section = self.section
        data: dict[str, Any] = {
            "gateway": {"url": self.url, "user": user, "account": account},
            "scheduler": self.scheduler,
            "profiles": {
                # The operator's shell lines are the service's to know.
                profile.key: profile.model_dump(
                    mode="json", exclude={"key", "groups", "prologue"}
                )
                for profile in self._open_to(groups, admin=admin)
            },
            "state": "" if home is None else str(home / ".local/state/landbridge"),
            "logs": section.logs,
            "ports": [int(p) for p in section.ports.split("-")]
            if section.ports
            else None,
            "lease": section.lease.total_seconds(),
            "keep_limit": section.keep_limit.total_seconds(),
            "idle_after": section.idle_after.total_seconds() or None,
            "idle_after_cpu": section.idle_after_cpu.total_seconds() or None,
            "idle_warning": section.idle_warning.total_seconds(),
        }
        KernelSettings(**data)  # what a server would refuse shows here
        return json.dumps(data)

    def _open_to(self, groups: Collection[str], *, admin: bool) -> list[Profile]:
        if self.profiles is None:
            return []
        return self.profiles.for_user(groups, admin=admin)
