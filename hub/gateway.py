"""The hub's side of all jobs: a client of the jobs service, and what spawners ask for.

:func:`open_gateway` makes it from the settings; :class:`HubGateway` is what the side of
JupyterHub (app, spawners, handlers) holds on to.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import ssl
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from services.jobs.clients import HUB, ClientTokens
from services.jobs.settings import Site
from spawners.batch.errors import NotPermitted
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.jobs.service_client import ServiceAway
from spawners.batch.rendezvous.certificates import DOMAIN, hub_client
from spawners.batch.rendezvous.launch import agent_command
from spawners.common.backoff import growing
from spawners.common.errors import GatewayError
from spawners.common.ownership import own_directory, read_own

from .config.kernels import KernelOffer
from .config.paths import jobs_socket, kernel_profiles, pki_directory
from .config.settings import Settings
from .config.site import jobs_config

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 60.0
_START_SECONDS = 60.0
# For the first page: any news of the cluster is better than none, newer ones come by
# themselves.
_FIRST_SNAPSHOT_AGE = timedelta(hours=1)
_FIRST_SNAPSHOT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class JobPaths:
    """Where jobs run and report.

    Attributes:
        api_url: the hub's API as jobs reach it, without a slash at the end.
        workdir, log_directory: with ``{home}`` and ``{user}`` to fill in.
        users: directory of one home per user where all jobs run as the hub's own
            account, or ``None`` where each has an account.
        python: the interpreter of the agent on the nodes.
    """

    api_url: str
    workdir: str
    log_directory: str
    users: Path | None
    python: str


class HubGateway:
    """The hub's side of every server, kernel, model and cluster that is a job.

    Attributes:
        jobs: all jobs of the gateway, through its jobs service.
        tls: for asking job servers: trusts the jobs CA, presents the hub's key.
        closing: True once the hub goes down.
    """

    def __init__(
        self,
        *,
        jobs: RemoteJobs,
        tls: ssl.SSLContext,
        places: JobPaths,
        kernels: KernelOffer | None = None,
    ) -> None:
        self.jobs = jobs
        self.tls = tls
        self.closing = False
        self.log = log
        self._places = places
        self._kernels = kernels
        self._requests: set[asyncio.Task[None]] = set()

    @property
    def api_url(self) -> str:
        """The hub's API as jobs reach it."""
        return self._places.api_url

    def account_of(self, user_name: str) -> str:
        """Return the account that a user's jobs run as.

        Raises:
            NotPermitted: there is no such account.
        """
        if self._places.users is not None:
            return pwd.getpwuid(os.geteuid()).pw_name
        return user_name

    def home_of(self, user_name: str) -> str | None:
        """Return the user's home where it is not that of the jobs' account.

        Raises:
            NotPermitted: the user's name cannot be a directory's.
        """
        return None if self._places.users is None else self._home(user_name)

    def workdir_of(self, user_name: str) -> str:
        """Return the directory that a user's jobs start in.

        Raises:
            NotPermitted: the user has no home that the hub knows of.
        """
        return self._filled(self._places.workdir, user_name)

    def output_of(self, user_name: str, server_name: str) -> str | None:
        """Return the path of the output file of a user's server."""
        directory = self._filled(self._places.log_directory, user_name)
        suffix = f"-{server_name}" if server_name else ""
        return f"{directory}/.landbridge-server{suffix}.log"

    def _filled(self, template: str, user_name: str) -> str:
        home = self._home(user_name) if "{home}" in template else ""
        return template.replace("{home}", home).replace("{user}", user_name)

    def _home(self, user_name: str) -> str:
        if self._places.users is not None:
            home = self._places.users / user_name
            if home.parent != self._places.users or user_name in (".", ".."):
                raise NotPermitted(f"{user_name!r} cannot be a directory's name.")
            own_directory(self._places.users)
            own_directory(home)
            return str(home)
        try:
            return pwd.getpwnam(user_name).pw_dir
        except KeyError:
            raise NotPermitted(
                f"There is no account {user_name!r} on this machine.",
                hint="Where accounts live elsewhere, set jobs.workdir and "
                "jobs.log_directory without {home}.",
            ) from None

    def kernel_config(
        self, user_name: str, groups: Collection[str], *, admin: bool
    ) -> str | None:
        """Return what a user's servers are told of kernels as jobs, if anything."""
        if self._kernels is None:
            return None
        home = self.home_of(user_name)
        return self._kernels.config_for(
            user_name,
            groups,
            account=self.account_of(user_name),
            admin=admin,
            home=None if home is None else Path(home),
        )

    def agent_command(self) -> tuple[str, ...]:
        """Return what runs the agent in a job, as argv."""
        return agent_command(self._places.python)

    def address_of(self, host: str) -> str | None:
        """Return the address behind a job's certificate name, for the proxy."""
        name, dot, domain = host.partition(".")
        record = self.jobs.get(name) if dot and domain == DOMAIN else None
        if record is None or record.address is None:
            return None
        return record.address.address

    def cancel(self, job_name: str) -> Awaitable[None]:
        """Have a job ended in the background; asked until that is written down."""
        task = asyncio.create_task(self._request_end(job_name))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return asyncio.shield(task)

    async def _request_end(self, job_name: str) -> None:
        for seconds in growing(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS):
            try:
                await self.jobs.cancel(job_name)
            except UnknownJob:
                return
            except GatewayError as error:
                log.warning("Cannot note the end of job %s: %s", job_name, error)
                await asyncio.sleep(seconds)
            else:
                return

    async def fail(self, job_name: str, failure: Failure) -> None:
        """Store why a start failed whose job lives, and end that job."""
        try:
            await self.jobs.give_up(job_name, failure)
        except GatewayError as error:
            log.warning("Cannot note why job %s failed: %s", job_name, error)
            self.cancel(job_name)

    async def close(self) -> None:
        """Stop watching; jobs go on."""
        self.closing = True
        for task in list(self._requests):
            task.cancel()
        await self.jobs.close()


def places(settings: Settings, site: Site) -> JobPaths:
    """Return where jobs run and report."""
    return JobPaths(
        api_url=f"{site.jobs_origin}{settings.hub.base_url}hub/api",
        workdir=settings.jobs.workdir or "{home}",
        log_directory=settings.jobs.log_directory or "{home}",
        users=None if site.own_accounts else settings.state / "users",
        python=settings.jobs.python,
    )


def kernel_offer(settings: Settings, site: Site) -> KernelOffer | None:
    """Return how notebook servers start kernels, ``None`` if they may not.

    Raises:
        ConfigError: the profiles cannot be used.
    """
    if not settings.kernels.enabled:
        return None
    return KernelOffer(
        section=settings.kernels,
        profiles=kernel_profiles(settings),
        scheduler=site.scheduler,
        url=f"{site.jobs_origin}{jobs_config(settings, site).agent_path}",
    )


def jobs_client(settings: Settings) -> RemoteJobs:
    """Return the hub's client of the jobs service; nothing is asked of it yet."""
    token = ClientTokens(settings.state / "secrets").file_of(HUB.name)
    return RemoteJobs(
        jobs_socket(settings), lambda: read_own(token).decode("ascii").strip()
    )


async def open_gateway(
    settings: Settings, site: Site, *, patience_seconds: float = _START_SECONDS
) -> HubGateway:
    """Return the hub's side of all jobs, once it knows of every one of them.

    It knows the cluster by then, too, unless the scheduler takes long to tell of it.

    Args:
        settings: the site's.
        site: what ``auto`` came to.
        patience_seconds: how long the jobs service has for answering.

    Raises:
        ServiceAway: it did not.
        ConfigError: the profiles cannot be used.
    """
    kernels = kernel_offer(settings, site)
    jobs = jobs_client(settings)
    try:
        async with asyncio.timeout(patience_seconds):
            await jobs.start()
        await _read_cluster(jobs)
        # Made by the service before it answers.
        tls = hub_client(pki_directory(settings)).context()
    except TimeoutError:
        await jobs.close()
        raise ServiceAway(
            f"{jobs_socket(settings)} was silent for {patience_seconds:g} s",
            hint="Start it before the hub, or with it: landbridge jobs.",
        ) from None
    except BaseException:
        await jobs.close()
        raise
    return HubGateway(
        jobs=jobs, tls=tls, places=places(settings, site), kernels=kernels
    )


async def _read_cluster(jobs: RemoteJobs) -> None:
    try:
        async with asyncio.timeout(_FIRST_SNAPSHOT_SECONDS):
            await jobs.fresh_snapshot(_FIRST_SNAPSHOT_AGE)
    except (GatewayError, TimeoutError) as error:
        log.warning("The cluster is not known yet: %s", error or "no answer so far")
