"""What a kernel's job says of the kernel in its record. All of it is public."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from spawners.batch.jobs.record import JobRecord, Retain


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """One kernel, as its job's record tells of it.

    Attributes:
        kernel_id: jupyter_client's id.
        kernel_name: the kernelspec's name.
        server: whose kernel it is: a notebook server's own name for itself, or ``""``
            for a program such as nbclient, whose kernels nobody adopts.
        near: directory of the near end's sockets.
        asked: the choice of resources as it was resolved, canonical, with its profile.
    """

    kernel_id: str
    kernel_name: str
    server: str
    near: str
    asked: Mapping[str, str | int]

    def to_facts(self) -> dict[str, str]:
        """Return it as a record keeps it."""
        facts = {
            "kernel": self.kernel_id,
            "kernelspec": self.kernel_name,
            "server": self.server,
            "near": self.near,
            "asked": json.dumps(dict(self.asked)),
            "title": self.kernel_name,
        }
        if profile := self.asked.get("profile"):
            facts["profile"] = str(profile)
        return facts

    @classmethod
    def of(cls, record: JobRecord) -> KernelFacts | None:
        """Return what a record tells, ``None`` if it is no kernel's of ours."""
        facts = record.facts
        try:
            asked = json.loads(facts["asked"])
            return cls(
                facts["kernel"],
                facts["kernelspec"],
                facts["server"],
                facts["near"],
                dict(asked),
            )
        except (KeyError, TypeError, ValueError):
            return None


def is_let_go(record: JobRecord) -> bool:
    """Tell whether nobody wants this job's kernel any more, whatever its job does."""
    return record.cancel_wanted is not None or record.retain is Retain.NONE


def owner_key(user: str, kernel_id: str, name: str) -> str:
    """Return the batch core's key for one job of a kernel.

    A kernel whose node is silent may get another job before the end of the first was
    read: each job is an owner of its own.
    """
    return f"kernel:{user}/{kernel_id}/{name}"
