"""What a kernel's job starts: the launcher, and what it is told.

Nothing has to be on the node but a shell and a Python: the launcher travels in the
launch, as the agent does in the job's environment.
"""

from __future__ import annotations

import json

from spawners.batch.models import Launch
from spawners.batch.rendezvous.certificates import job_host
from spawners.batch.rendezvous.launch import travelling_program
from spawners.node.kernel.names import Json

from .settings import KernelSettings

_MODULES = (
    "memory",
    "output",
    "kernel_pipe",
    "kernel.names",
    "kernel.tunnel",
    "kernel.process",
    "kernel.channels",
    "kernel.iopub_buffer",
    "kernel.credentials",
    "kernel.key_server",
    "kernel.launcher",
    "kernel.main",
)


def launcher_program() -> str:
    """Return the launcher as one program, of the release that was loaded first."""
    return travelling_program(_MODULES)


def kernel_launch(
    name: str, told: Json, settings: KernelSettings, *, warn_before: float
) -> Launch:
    """Return what the job called ``name`` starts.

    Args:
        name: the job's.
        told: ``argv``, ``env``, ``cwd`` and ``storage`` of the kernel, and its
            ``connection``: key and signature scheme of its messages.
        settings: the kernels'.
        warn_before: seconds between the warning and the time limit.
    """
    facts = {
        **told,
        "host": job_host(name),
        "lease": settings.lease.total_seconds(),
        "warn_before": warn_before,
        # Jobs of this machine need not be seen from any other.
        "address": "" if settings.is_slurm else "127.0.0.1",
        "ports": settings.ports,
    }
    return Launch(
        argv=("{agent}", "-I", "{dir}/kernel.py", "{dir}"),
        files={"kernel.py": launcher_program(), "kernel.json": json.dumps(facts)},
    )
