"""The jobs service, put together: batch core, rendezvous, certificates, clients."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tornado.web import Application

from services.common.listening import listen
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.settings import Policy
from spawners.batch.jobs.store import JobStore
from spawners.batch.rendezvous.certificates import CertificateAuthority
from spawners.batch.rendezvous.launch import JobSideSettings, agent_command
from spawners.batch.rendezvous.launches import StoredLaunches
from spawners.batch.rendezvous.proofs import MungeVerifier
from spawners.batch.rendezvous.rendezvous import Rendezvous, RendezvousSettings
from spawners.batch.rendezvous.store import StoredProofs
from spawners.batch.scheduler import Scheduler

from .clients import ClientTokens
from .db.rows import open_rows
from .handlers import LARGEST_BODY, make_application
from .lock import CoreLock
from .service import JobsService
from .usage import UsageLedger

NAME = "jobs"


@dataclass(frozen=True)
class Parts:
    """What the service is made of, and where it stands.

    Attributes:
        scheduler: runs the jobs; closed with the service.
        database: SQLAlchemy URL of the records' database.
        side: what every job is told.
        jobs_ca: signs the jobs' certificates.
        launch_secrets: encrypt what jobs start, the newest first.
        tokens: of the clients.
        agent_paths: where jobs' agents call, without a slash at the end.
        lock: says that nobody else looks after these jobs.
        python: the agent's interpreter on the nodes.
        watch: how often and how long is looked.
        munge: decodes jobs' credentials; ``None`` for the standard way.
        prologues: shell lines of profiles, by key, for jobs without a script.
    """

    scheduler: Scheduler
    database: str
    side: JobSideSettings
    jobs_ca: CertificateAuthority
    launch_secrets: list[bytes] = field(repr=False)
    tokens: ClientTokens
    agent_paths: tuple[str, ...]
    lock: Path
    python: str = "python3"
    watch: Policy | None = None
    munge: MungeVerifier | None = None
    prologues: Mapping[str, str] = field(default_factory=dict)


async def open_service(
    parts: Parts, stack: AsyncExitStack
) -> tuple[JobsService, Application, Rendezvous]:
    """Open all that the service needs, and take the records up; ``stack`` closes it.

    Raises:
        CoreRuns: another process looks after these jobs.
        DatabaseUnavailable, DatabaseIncompatible, NotOurs: an operator has to act.
    """
    await stack.enter_async_context(CoreLock(parts.lock))
    parts.tokens.ensure()
    stack.push_async_callback(parts.scheduler.close)
    store = await JobStore.open(parts.database)
    stack.push_async_callback(store.close)
    rows = await open_rows(parts.database)
    stack.push_async_callback(rows.close)
    launches = StoredLaunches(store, parts.launch_secrets, parts.side)
    jobs = Jobs(parts.scheduler, store, parts.watch, launches=launches)
    service = JobsService(
        jobs,
        rows,
        UsageLedger(store),
        parts.tokens,
        authority=parts.jobs_ca,
        agent=agent_command(parts.python),
        prologues=parts.prologues,
    )
    rendezvous = Rendezvous(
        jobs,
        parts.jobs_ca,
        StoredProofs(store),
        launches,
        RendezvousSettings(parts.side),
        munge=parts.munge,
    )
    await service.start()
    stack.push_async_callback(service.close)
    application = make_application(service, rendezvous, parts.agent_paths)
    return service, application, rendezvous


async def serve(parts: Parts, socket: Path, stop: asyncio.Event) -> None:
    """Serve at ``socket`` until ``stop``; the jobs go on.

    Raises:
        SocketTaken: another jobs service runs here.
        GatewayError: it cannot begin; an operator has to act.
    """
    async with AsyncExitStack() as stack:
        service, application, _ = await open_service(parts, stack)

        async def let_readers_go() -> None:
            await stop.wait()
            # Streams would hold up the end of the server.
            service.feed.close()

        watch = asyncio.create_task(let_readers_go())
        try:
            await listen(NAME, application, socket, stop, largest_body=LARGEST_BODY)
        finally:
            watch.cancel()
