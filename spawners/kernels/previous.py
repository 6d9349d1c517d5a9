"""Kernels of the previous release that live through an upgrade.

Each has a file in the user's state, with the address and the certificate of its own
tunnel. Its launcher tells of the kernel's end, and ends the job when it is asked to;
there is no record of the job here, so one whose node is silent stays lost until it
answers. One that had not started finds nobody, and ends by its lease.

To be deleted with the release after next.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.wire import Credential
from spawners.batch.models import BatchJob, Resources
from spawners.batch.rendezvous.certificates import job_host
from spawners.common.backoff import growing
from spawners.common.files import write_whole
from spawners.common.ownership import read_own
from spawners.node.kernel.names import Json

from .context import KernelContext
from .errors import KernelJobEnded, KernelNotStarted
from .facts import KernelFacts
from .job import KernelJob

log = logging.getLogger(__name__)
# A file of the user's own, which may hold anything by now.
_UNREADABLE = (
    OSError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
)

_OVER = Failure(
    "The kernel's job is over",
    "It was of the gateway's previous release and does not run any more.",
    "Start it again.",
)


@dataclass(frozen=True, slots=True)
class PreviousKernel:
    """What the previous release wrote down of a kernel.

    Attributes:
        facts: of the kernel.
        name: the job's.
        job: its identity, if it was known.
        address: of its launcher, once it told.
        port: likewise; 0 before.
        credential: key and certificate that both ends show and trust.
        known: key of its messages, variables and directory.
        kept_until: until when its user keeps it.
        path: of the file.
    """

    facts: KernelFacts
    name: str
    job: BatchJob | None
    address: str
    port: int
    credential: Credential = field(repr=False)
    known: Json = field(repr=False)
    kept_until: datetime | None
    path: Path


def previous_kernels(directory: Path, server: str) -> list[PreviousKernel]:
    """Return the kernels of a server that the previous release left, oldest first."""
    found = []
    for path in directory.glob("*.json") if directory.is_dir() else ():
        try:
            data = json.loads(read_own(path))
            if data["owner"] == server and not data["ending"]:
                found.append((str(data["created"]), _read(data, path)))
        except _UNREADABLE as error:
            log.warning("%s cannot be used: %s", path, error)
    return [kernel for _, kernel in sorted(found, key=lambda pair: pair[0])]


def _read(data: Json, path: Path) -> PreviousKernel:
    job, launch, kept = data["job"], data["launch"], data.get("keep_until")
    if job is not None:
        submitted = job.pop("submitted")
        when = None if submitted is None else datetime.fromisoformat(submitted)
        job = BatchJob(**job, submitted=when)
    name, certificate = str(data["name"]), str(data["certificate"])
    return PreviousKernel(
        facts=KernelFacts(
            str(data["kernel_id"]),
            str(data["kernel_name"]),
            str(data["owner"]),
            str(data["near"]),
            dict(data["asked"]),
        ),
        name=name,
        job=job,
        address=str(data["far_address"]),
        port=int(data["far_port"]),
        # The certificate signed itself: it is its own authority.
        credential=Credential(
            str(data["key"]), certificate, certificate, job_host(name)
        ),
        known={
            "connection": dict(data["connection"]),
            "env": dict(launch.get("env") or {}),
            "cwd": launch.get("cwd") or "",
        },
        kept_until=datetime.fromisoformat(kept) if kept else None,
        path=path,
    )


class PreviousJob(KernelJob):
    """Such a kernel's job: its launcher is all that tells of it.

    Args:
        kernel: what was written down.
        facts: of the kernel, with the directory that is used now.
        context: as in :class:`~.job.KernelJob`.
        changed: likewise.
    """

    def __init__(
        self,
        kernel: PreviousKernel,
        facts: KernelFacts,
        context: KernelContext,
        changed: Callable[[], None],
    ) -> None:
        super().__init__(facts, kernel.name, Resources(), context, changed)
        self._kernel = kernel
        self.known = kernel.known
        self.kept_until = kernel.kept_until

    @property
    def identity(self) -> BatchJob | None:
        """The job's identity, if it was known."""
        return self._kernel.job

    async def adopt(self) -> None:
        """Become its owner; returns when it is attached.

        Raises:
            KernelJobEnded: it is over.
            KernelNotStarted: another program has it.
        """
        if not self.claim():
            raise KernelNotStarted(
                Failure("The kernel belongs to another program", "It uses it.")
            )
        await self.tunnel.open()
        try:
            await self._attach_again()
        except KernelJobEnded:
            await self.end()
            raise
        except BaseException:
            await self.detach()  # it is to be found again
            raise

    async def _attach_again(self) -> None:
        for pause in growing(0.1, 5.0, 1.5):
            if not self._kernel.port:
                break  # it waits in the queue for a server that is no more
            try:
                await self.attach()
            except ConnectionRefusedError:
                break  # its machine answers, and nobody listens there
            except (OSError, TimeoutError) as error:
                log.info("Kernel %s is not reached: %s", self.facts.kernel_id, error)
                await asyncio.sleep(pause)
            else:
                return
        raise KernelJobEnded(_OVER)

    async def _far(self) -> tuple[str, int, Credential]:
        return self._kernel.address, self._kernel.port, self._kernel.credential

    def _on_event(self, message: Json) -> None:
        super()._on_event(message)
        if message.get("event") == "bye" and not self.over:
            why = str(self.ending.get("why") or "Its launcher has ended.")[:300]
            self._end_is_known(Failure("The kernel's job ended", why))

    async def _release(self) -> None:
        self._kernel.path.unlink(missing_ok=True)

    async def _finish(self, *, cancels: bool) -> None:
        if cancels and self._kernel.port:
            job = self.identity
            log.warning(
                "Job %s of kernel %s does not answer, and ends by its lease.",
                self.name if job is None else job.id,
                self.facts.kernel_id,
            )
        await self._release()

    async def _note_keeping(self, until: datetime, *, kept: bool) -> None:
        with contextlib.suppress(OSError):
            data = json.loads(read_own(self._kernel.path))
            moment = until.astimezone(UTC).isoformat() if kept else ""
            text = json.dumps({**data, "keep_until": moment})
            await asyncio.to_thread(write_whole, self._kernel.path, text)

    async def recall_keeping(self) -> None:
        """Nothing is to be learned: it came with the file."""
