"""What all kernels of one process share: scheduler, watch, records, addresses.

Parts that talk to the scheduler are for the tunnels' loop only.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spawners.batch.explain.states import explain_refusal
from spawners.batch.models import BatchJob, Resources
from spawners.batch.rendezvous.proofs import MungeVerifier
from spawners.batch.scheduler import ClusterSnapshot
from spawners.common.addresses import plain_address, resolve
from spawners.common.errors import GatewayError
from spawners.profiles.profiles import Resolved

from .errors import KernelNotStarted
from .record import KernelRecords
from .rendezvous import own_addresses
from .settings import KernelSettings
from .watch import KernelWatch

_SNAPSHOT_AGE = timedelta(seconds=10)
_PROBED_NODES = 5
_LOG_AGE = timedelta(days=14)


class KernelContext:
    """The scheduler and what is known of it, for one set of settings."""

    def __init__(self, settings: KernelSettings) -> None:
        self.settings = settings
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.home = pwd.getpwuid(os.getuid()).pw_dir
        self.profiles = settings.read_profiles()
        self.records = KernelRecords(settings.directory / "kernels")
        self.scheduler = settings.build_scheduler()
        self.watch = KernelWatch(self.scheduler)
        self.munge = (
            MungeVerifier(socket=settings.munge_socket or None)
            if settings.proves_by_munge
            else None
        )
        self._snapshot: ClusterSnapshot | None = None

    async def snapshot(self) -> ClusterSnapshot:
        """Return the cluster as it was a few seconds ago."""
        oldest = datetime.now(UTC) - _SNAPSHOT_AGE
        if self._snapshot is None or self._snapshot.taken_at < oldest:
            self._snapshot = await self.scheduler.snapshot()
        return self._snapshot

    async def resolve(self, options: object) -> Resolved:
        """Return what a choice comes to as a job, by the site's profiles.

        Raises:
            KernelNotStarted: it may not be chosen, or the scheduler is away.
        """
        try:
            return self.profiles.resolve(
                options,
                groups=self.settings.groups,
                admin=self.settings.admin,
                snapshot=await self.snapshot(),
            )
        except GatewayError as error:
            raise KernelNotStarted(explain_refusal(error)) from error

    def resources_of(self, asked: Mapping[str, str | int]) -> Resources:
        """Return what a recorded choice asked for, as far as profiles still tell."""
        try:
            return self.profiles.resolve(asked, admin=True).resources
        except GatewayError:  # the site's profiles changed; its job is as it was
            return Resources()

    async def addresses(self) -> tuple[str, ...]:
        """Return where jobs may reach this process, the likeliest first."""
        if self.settings.address:
            return (self.settings.address,)
        if not self.settings.is_slurm:
            return ("127.0.0.1",)
        nodes = list((await self.snapshot()).node_addresses.values())
        probed = nodes[:: max(1, len(nodes) // _PROBED_NODES)][:_PROBED_NODES]
        found: list[str] = []
        for node in probed:
            found += await resolve(node)
        return tuple(own_addresses(found))

    async def is_from_job(self, job: BatchJob, address: str) -> bool:
        """Tell whether an address is one of the nodes that ``job`` runs on."""
        own = {plain_address(each) for each in own_addresses([address])}
        if not self.settings.is_slurm:
            return address in own
        try:
            status = (await self.scheduler.status([job]))[job]
            known = (await self.snapshot()).node_addresses
        except GatewayError:
            return False  # it tries again
        places: set[str] = set()
        for node in status.nodes:
            places.update(await resolve(known.get(node, node)))
        # A node that is this very machine shows any of our addresses.
        here = not places.isdisjoint({*own, "127.0.0.1", "::1"})
        return address in places or (here and address in own)

    def log_path(self, name: str) -> str:
        """Return where a job's output goes, ``""`` for nowhere."""
        directory = self.settings.log_directory
        if directory is None:
            return ""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget_logs(directory)
        return str(directory.absolute() / f"{name}.log")


_contexts: dict[tuple[int, str], KernelContext] = {}


def context_for(settings: KernelSettings) -> KernelContext:
    """Return this process's context for these settings."""
    key = (os.getpid(), settings.model_dump_json())
    if key not in _contexts:
        _contexts[key] = KernelContext(settings)
    return _contexts[key]


def _forget_logs(directory: Path) -> None:
    """Remove the logs of failed kernels that nobody looks up any more."""
    oldest = datetime.now(UTC).timestamp() - _LOG_AGE.total_seconds()
    for path in directory.glob("lb-*.log"):
        with contextlib.suppress(OSError):  # another process does so, too
            if path.stat().st_mtime < oldest:
                path.unlink()


def remove_log(path: str) -> None:
    """Remove the log of a job that ended as it should."""
    if path:
        Path(path).unlink(missing_ok=True)
