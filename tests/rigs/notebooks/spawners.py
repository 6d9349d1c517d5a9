"""A spawner on the fake scheduler: JupyterHub's database and the batch core, no hub."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any

from jupyterhub import orm, roles
from jupyterhub.objects import Hub, Server
from jupyterhub.user import User
from traitlets.config import Config

from spawners.batch.explain.failure import Failure
from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import Address, JobRecord
from spawners.batch.jobs.settings import Policy
from spawners.batch.jobs.store import JobStore
from spawners.batch.models import BatchJob, JobState
from spawners.batch.rendezvous.certificates import ensure_hub_pki
from spawners.batch.rendezvous.launch import JobSideSettings
from spawners.batch.rendezvous.launches import StoredLaunches
from spawners.notebooks.spawner import BatchJobSpawner

QUICK = Policy(
    fast=timedelta(milliseconds=20),
    slow=timedelta(milliseconds=50),
    search_delays=(timedelta(0), timedelta(milliseconds=20)),
    lost_after=timedelta(milliseconds=10),
)


class Host:
    """What a spawner needs of its hub, without one."""

    api_url = "https://hub.example:8001/hub/api"
    closing = False

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.tls = ssl.create_default_context()

    def account_of(self, user_name: str) -> str:
        return user_name

    def home_of(self, user_name: str) -> str | None:
        return None

    def workdir_of(self, user_name: str) -> str:
        return f"/home/{user_name}"

    def output_of(self, user_name: str, server_name: str) -> str | None:
        return f"/home/{user_name}/server{server_name}.log"

    def kernel_config(self, user_name: str, groups: object, *, admin: bool) -> None:
        return None

    def agent_command(self) -> tuple[str, ...]:
        return ("/usr/bin/python3", "-I", "-c", "agent")

    def cancel(self, job_name: str) -> Awaitable[None]:
        return asyncio.ensure_future(self.jobs.cancel(job_name))

    async def fail(self, job_name: str, failure: Failure) -> None:
        await self.jobs.give_up(job_name, failure)


class Rig:
    """One user, ``ann``, whose servers run on a fake scheduler."""

    def __init__(
        self,
        scheduler: FakeScheduler,
        jobs: Jobs,
        store: JobStore,
        launches: StoredLaunches,
        user: User,
    ) -> None:
        self.scheduler, self.jobs, self.user = scheduler, jobs, user
        self.store, self.launches = store, launches
        self.host = Host(jobs)
        user.settings["landbridge"] = self.host

    def spawner(self, kind: type = BatchJobSpawner, **traits: Any) -> BatchJobSpawner:
        """A spawner as JupyterHub makes one for a start."""
        config = Config()
        config[kind.__name__].update(traits)
        spawner = self.user._new_spawner(
            "", spawner_class=kind, hub=Hub(), config=config
        )
        row = orm.Server(base_url="/user/ann/")
        self.user.db.add(row)
        self.user.db.commit()
        spawner.server = Server(orm_server=row)
        # As User.spawn does: what an earlier start stored is not this one's.
        spawner.clear_state()
        spawner.api_token = self.user.new_api_token()
        self.user.db.commit()
        return spawner

    async def submitted(self, spawner: BatchJobSpawner) -> BatchJob:
        """The job that a start under way has submitted."""
        async with asyncio.timeout(5):
            while spawner.record is None or spawner.record.job is None:
                await asyncio.sleep(0.005)
        return spawner.record.job

    async def leave_pending(self, spawner: BatchJobSpawner) -> BatchJob:
        """Have a start submit or attach to its job; then the hub goes down."""
        start = asyncio.ensure_future(spawner.start())
        async with asyncio.timeout(5):
            await spawner._submitted.wait()
        self.host.closing = True
        start.cancel()
        await asyncio.wait([start])
        self.host.closing = False
        return await self.submitted(spawner)

    async def bring_up(self, spawner: BatchJobSpawner, port: int = 41234) -> str:
        """Start a server and play its job; return the URL that start() gave."""
        start = asyncio.ensure_future(spawner.start())
        job = await self.submitted(spawner)
        self.scheduler.move(job, JobState.RUNNING, node="n01")
        await self.jobs.report_ready(job.name, Address("n01", "127.0.0.1", port))
        async with asyncio.timeout(5):
            return await start

    async def over(self, name: str) -> JobRecord:
        """The record once its job has ended."""
        async with asyncio.timeout(5):
            return await self.jobs.wait(name, lambda record: not record.live)


async def make_rig(directory: str) -> tuple[Rig, Any]:
    """A rig, and a coroutine function that takes it down."""
    session = orm.new_session_factory("sqlite://")()
    row = orm.User(name="ann")
    session.add(row)
    session.add(orm.OAuthClient(identifier="jupyterhub", secret=""))
    session.commit()
    roles.create_role(session, roles.get_default_roles()[0])
    scheduler = FakeScheduler()
    store = await JobStore.open(f"sqlite:///{directory}/jobs.sqlite")
    ca = ensure_hub_pki(Path(directory) / "pki").hub_ca.certificate
    side = JobSideSettings("https://hub.example:8001/hub/api/landbridge/jobs", ca)
    launches = StoredLaunches(store, [b"key of launches"], side)
    jobs = Jobs(scheduler, store, QUICK, launches=launches)
    await jobs.start()
    user = User(row, {"cookie_secret": b"secret"})

    async def down() -> None:
        await jobs.close()
        await store.close()
        session.close()
        session.get_bind().dispose()

    return Rig(scheduler, jobs, store, launches, user), down
