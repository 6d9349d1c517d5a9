"""What all kernels of one process share: the jobs service, profiles, logs.

What asks the jobs service is for the tunnels' loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spawners.batch.errors import SchedulerUnavailable
from spawners.batch.explain.states import explain_refusal
from spawners.batch.jobs.http import TlsWay
from spawners.batch.jobs.record import JobRecord
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.rendezvous.certificates import HUB_NAME
from spawners.batch.scheduler import ClusterSnapshot, UserLimits
from spawners.common.errors import GatewayError
from spawners.profiles.profiles import Resolved

from .claim import Claims
from .errors import KernelNotStarted
from .facts import KernelFacts, is_let_go
from .own import OwnService
from .settings import KernelSettings

_TOKEN = "LANDBRIDGE_JOBS_TOKEN"  # noqa: S105 -- the variable's name
_AUTHORITY = "JUPYTERHUB_SSL_CLIENT_CA"
_SNAPSHOT_AGE = timedelta(seconds=10)
_SNAPSHOT_SECONDS = 15.0
_START_SECONDS = 60.0
_LOG_AGE = timedelta(days=14)


class KernelContext:
    """The jobs service and what is known of it, for one set of settings.

    Attributes:
        settings: those.
        account: that the jobs run as.
        user: whose they are: the part of an owner's key.
        home: this process's, which kernels have, too: the account's directory, or
            the user's own where the gateway's users share an account.
        profiles: what may be chosen.
        state: directory of locks, and of what the previous release left.
        claims: which kernels are this process's.
    """

    def __init__(self, settings: KernelSettings) -> None:
        facts, gateway = pwd.getpwuid(os.getuid()), settings.gateway
        self.settings = settings
        self.account = gateway.account if gateway else facts.pw_name
        self.user = gateway.user if gateway else facts.pw_name
        self.home = os.environ.get("HOME") or facts.pw_dir
        self.profiles = settings.read_profiles()
        self.state = settings.directory / "kernels"
        self.claims = Claims(self.state)
        self._jobs: RemoteJobs | None = None
        self._starting = asyncio.Lock()

    async def jobs(self) -> RemoteJobs:
        """Return the jobs service's client, which mirrors this user's kernels.

        Raises:
            SchedulerUnavailable: the service does not answer.
        """
        async with self._starting:
            if self._jobs is None:
                jobs = self._client()
                try:
                    async with asyncio.timeout(_START_SECONDS):
                        await jobs.start()
                except BaseException as error:
                    await jobs.close()
                    if not isinstance(error, TimeoutError):
                        raise
                    raise SchedulerUnavailable(
                        "The jobs service does not answer.",
                        hint="Try again in a minute; running kernels go on.",
                    ) from None
                self._jobs = jobs
            return self._jobs

    async def close(self) -> None:
        """Disconnect from the jobs service; kernels go on."""
        async with self._starting:
            jobs, self._jobs = self._jobs, None
            if jobs is not None:
                await jobs.close()

    def _client(self) -> RemoteJobs:
        prefix, gateway = f"kernel:{self.user}/", self.settings.gateway
        if gateway is None:
            own = OwnService(self.settings)
            return RemoteJobs(own, own.token, prefix=prefix)
        way = TlsWay(gateway.url, Path(os.environ.get(_AUTHORITY, "")), HUB_NAME)
        return RemoteJobs(
            way,
            lambda: os.environ.get(_TOKEN, ""),
            prefix=prefix,
            sends_scripts=False,
        )

    async def kernels(self, server: str) -> list[tuple[KernelFacts, JobRecord]]:
        """Return the newest job of each kernel of a server, the oldest kernel first.

        Those that somebody ended are no more.

        Raises:
            SchedulerUnavailable: the service does not answer.
        """
        newest: dict[str, tuple[KernelFacts, JobRecord]] = {}
        for record in (await self.jobs()).records(live_only=False):
            facts = KernelFacts.of(record)
            if facts is not None and facts.server == server:
                newest.pop(facts.kernel_id, None)
                newest[facts.kernel_id] = facts, record
        return [pair for pair in newest.values() if not is_let_go(pair[1])]

    async def snapshot(self) -> ClusterSnapshot:
        """Return the cluster as it was a few seconds ago.

        Raises:
            SchedulerUnavailable: it cannot be read.
        """
        jobs = await self.jobs()
        try:
            async with asyncio.timeout(_SNAPSHOT_SECONDS):
                snapshot = await jobs.fresh_snapshot(_SNAPSHOT_AGE)
        except TimeoutError:
            snapshot = None
        if snapshot is None:
            raise SchedulerUnavailable("The cluster cannot be read now.")
        return snapshot

    async def limits(self) -> UserLimits:
        """Return what the scheduler allows the account.

        Raises:
            GatewayError: that cannot be read now.
        """
        return await (await self.jobs()).limits(self.account)

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


def open_contexts() -> list[KernelContext]:
    """Return the contexts of this process."""
    return [context for (pid, _), context in _contexts.items() if pid == os.getpid()]


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
