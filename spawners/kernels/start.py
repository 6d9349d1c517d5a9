"""How a kernel's job is started, and found again. For the tunnels' loop only."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

from spawners.batch.errors import SubmitUncertain
from spawners.batch.explain.failure import Failure
from spawners.batch.explain.states import explain_refusal
from spawners.batch.models import BatchJob, JobSpec
from spawners.batch.rendezvous.proofs import new_secret
from spawners.common.backoff import growing
from spawners.common.errors import GatewayError
from spawners.common.files import write_private
from spawners.node.kernel.tunnel import Json

from .context import KernelContext
from .errors import KernelJobEnded, KernelNotStarted
from .identity import new_identity
from .job import KernelJob
from .rendezvous import Home, Proofs, bind
from .script import Facts, render_kernel_script
from .status import cannot_start

log = logging.getLogger(__name__)

_LOOKS = (0.0, 3.0, 12.0, 30.0)  # by name, after a lost answer
_STEP_SECONDS = 1.0
_STALE = timedelta(minutes=10)

CANCELLED = Failure("Cancelled", "The kernel was not wanted any more.")


async def start(job: KernelJob, launch: Json, prologue: tuple[str, ...]) -> None:
    """Submit the job, wait however long it takes, return with a running kernel.

    Whatever else happens, a job that was submitted is cancelled. So are jobs that
    programs left behind which were killed.

    Args:
        job: with a record that has no job yet.
        launch: ``argv``, ``env`` and ``cwd`` of the kernel.
        prologue: shell lines of the profile.

    Raises:
        KernelNotStarted: it was refused, or ended before the kernel ran.
    """
    try:
        await _start(job, launch, prologue)
    except GatewayError as error:
        await _give_up(job)
        raise KernelNotStarted(explain_refusal(error)) from error
    except OSError as error:
        await _give_up(job)
        raise KernelNotStarted(
            Failure("The kernel's job could not be prepared", str(error))
        ) from error
    except BaseException:
        await _give_up(job)
        raise


async def _give_up(job: KernelJob) -> None:
    # In a task of its own, which a second cancellation does not reach.
    ending = asyncio.ensure_future(job.end())
    await asyncio.shield(ending)


async def _start(job: KernelJob, launch: Json, prologue: tuple[str, ...]) -> None:
    context, settings = job.context, job.context.settings
    job.claim()
    await job.tunnel.open()
    job.spawn(tidy(context))
    addresses = await context.addresses()
    pair = new_identity(job.record.name)
    token = "" if context.munge is not None else new_secret()
    lone = addresses[0] if len(addresses) == 1 and not settings.address else ""
    listener = bind(lone, settings.ports)
    job.save(
        fingerprint=pair.fingerprint,
        key=pair.key,
        certificate=pair.certificate,
        token=token,
        launch=launch,
        home_port=int(listener.getsockname()[1]),
        home_addresses=addresses,
        output=context.log_path(job.record.name),
    )
    submitted: asyncio.Future[BatchJob] = asyncio.get_running_loop().create_future()
    home = await _open_home(job, listener, submitted)
    try:
        found = await _submit(job, _spec(job, prologue))
        if job.over:
            await job.cancel_late(found)
            raise KernelNotStarted(CANCELLED)
        job.save(job=found, uncertain=False)
        submitted.set_result(found)
        job.watch(found)
        log.info("Kernel job %s is %s for %s", found.name, found.id, found.user)
        await _await_kernel(job, home)
    finally:
        home.close()
        submitted.cancel()


async def _open_home(
    job: KernelJob, listener: socket.socket, submitted: asyncio.Future[BatchJob]
) -> Home:
    record, context = job.record, job.context

    async def identity() -> BatchJob:
        return await asyncio.shield(submitted)

    async def from_job(address: str) -> bool:
        return await context.is_from_job(await identity(), address)

    proofs = Proofs(
        record.name, record.fingerprint, context.munge, record.token, identity, from_job
    )
    answer: Json = {
        **record.launch,
        "key": record.key,
        "certificate": record.certificate,
        "connection": dict(record.connection),
        "lease": record.lease,
        "warn_before": _warn_before(job).total_seconds(),
    }
    home = Home(proofs, answer)
    identity_file = Path(record.near) / "home.pem"
    write_private(identity_file, record.key + record.certificate)
    try:
        await home.open(identity_file, listener)
    finally:
        identity_file.unlink()
    return home


def _warn_before(job: KernelJob) -> timedelta:
    """Return how long before its end a job is warned, a short one in its last third."""
    limit, warn = job.resources.time_limit, job.context.settings.warn_before
    return max(warn if limit is None else min(warn, limit / 3), timedelta(seconds=1))


def _spec(job: KernelJob, prologue: tuple[str, ...]) -> JobSpec:
    record, settings = job.record, job.context.settings
    facts = Facts(
        name=record.name,
        addresses=record.home_addresses,
        port=record.home_port,
        fingerprint=record.fingerprint,
        proof="token" if record.token else "munge",
        munge_socket=settings.munge_socket,
        patience=record.lease,
        ports=settings.ports,
    )
    return JobSpec(
        name=record.name,
        script=render_kernel_script(
            facts, prologue=(*settings.prologue, *prologue), python=settings.python
        ),
        resources=job.resources,
        workdir=job.context.home,
        output=record.output or None,
        environment={"LANDBRIDGE_TOKEN": record.token} if record.token else {},
        warn_before=_warn_before(job),
        comment="Jupyter kernel",
        options=settings.options,
    )


async def _submit(job: KernelJob, spec: JobSpec) -> BatchJob:
    scheduler, user = job.context.scheduler, job.record.user
    await scheduler.check(spec.resources, user=user)
    job.save(uncertain=True)
    try:
        found = await scheduler.submit(spec, user=user)
    except SubmitUncertain:
        for pause in _LOOKS:
            await asyncio.sleep(pause)
            jobs = await scheduler.find(spec.name, user=user)
            if jobs:
                return jobs[0]
        raise
    except GatewayError:
        job.save(uncertain=False)  # a plain no
        raise
    return found


async def _await_kernel(job: KernelJob, home: Home) -> None:
    """Wait through the queue, the launch, and the first contact."""
    patience = job.context.settings.launch_timeout.total_seconds()
    running_since: float | None = None
    end = asyncio.ensure_future(job.end_known.wait())
    try:
        while not home.report.done():
            await asyncio.wait(
                (home.report, end),
                timeout=_STEP_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if job.over or (job.ended is not None and not home.report.done()):
                raise KernelNotStarted(job.ended or CANCELLED)
            if not job.reading.state.on_nodes or home.arrived.is_set():
                running_since = None
            elif running_since is None:
                running_since = monotonic()
            elif monotonic() - running_since > patience:
                raise KernelNotStarted(_silent(job))
    finally:
        end.cancel()
    report = home.report.result()
    job.host = str(report.get("host", ""))
    if "failed" in report:
        raise KernelNotStarted(cannot_start(str(report["failed"])[:1000], job.host))
    port = report.get("port")
    if not isinstance(port, int) or not 1024 <= port <= 65535:
        raise KernelNotStarted(Failure("The kernel's job reported no usable port"))
    job.save(far_address=str(report.get("address", "")), far_port=port, token="")
    await _attach(job, patience)


async def _attach(job: KernelJob, patience: float) -> None:
    deadline = monotonic() + patience
    while True:
        try:
            await job.attach()
        except (OSError, TimeoutError) as error:
            if job.ended is not None:
                raise KernelNotStarted(job.ended) from None
            if monotonic() > deadline:
                raise KernelNotStarted(_silent(job, str(error))) from error
            await asyncio.sleep(0.3)
        else:
            return


def _silent(job: KernelJob, trouble: str = "") -> Failure:
    record = job.record
    where = f"{' or '.join(record.home_addresses)} port {record.home_port}"
    if record.far_port:
        where = f"{record.far_address} port {record.far_port}"
    return Failure(
        "The kernel's job runs, but cannot be reached",
        f"No connection was made at {where}. {trouble}".rstrip(),
        "Tell your site's operators which connection fails: a firewall may be in "
        "the way between the nodes.",
    )


async def adopt(job: KernelJob) -> None:
    """Find a recorded kernel again and become its owner.

    Returns when it is attached, which takes as long as its job's queue.

    Raises:
        KernelJobEnded: its job is over; the record is gone.
        KernelNotStarted: it cannot be had any more; its job is cancelled.
    """
    if not job.claim():
        raise KernelNotStarted(
            Failure("The kernel belongs to another program", "It is alive and uses it.")
        )
    await job.tunnel.open()
    try:
        await _adopt(job)
    except GatewayError as error:
        await job.detach()
        raise KernelNotStarted(explain_refusal(error)) from error
    except KernelJobEnded:
        await job.end()
        raise
    except KernelNotStarted:
        await _give_up(job)
        raise
    except BaseException:
        await job.detach()  # it is to be found again
        raise


async def _adopt(job: KernelJob) -> None:
    record, context = job.record, job.context
    if record.ending:
        raise KernelNotStarted(Failure("The kernel was being shut down"))
    if record.job is None:
        found = await _look_for(context, record.name, record.user)
        if found is None:
            raise KernelNotStarted(Failure("The kernel's job was never submitted"))
        job.save(job=found, uncertain=False)
    assert job.record.job is not None  # noqa: S101 -- just found
    job.watch(job.record.job)
    if record.far_port:
        await _attach_again(job)
        return
    own = await context.addresses()
    if set(own).isdisjoint(record.home_addresses):
        raise KernelNotStarted(
            Failure(
                "The kernel waited for a server that is gone",
                "Its job was told to report to another machine.",
            )
        )
    submitted: asyncio.Future[BatchJob] = asyncio.get_running_loop().create_future()
    submitted.set_result(job.record.job)
    lone = "127.0.0.1" if own == ("127.0.0.1",) else ""
    try:
        listener = bind(lone, None, wanted=record.home_port)
    except OSError as error:
        raise KernelNotStarted(
            Failure("The kernel's port was taken meanwhile", str(error))
        ) from error
    home = await _open_home(job, listener, submitted)
    try:
        await _await_kernel(job, home)
    finally:
        home.close()


async def _attach_again(job: KernelJob) -> None:
    for pause in growing(0.1, 5.0, 1.5):
        try:
            await job.attach()
        except (OSError, TimeoutError):
            if job.ended is not None:
                raise KernelJobEnded(job.ended) from None
            job.context.watch.hurry(job.record.job)  # type: ignore[arg-type]
            await asyncio.sleep(pause)
        else:
            return


async def _look_for(context: KernelContext, name: str, user: str) -> BatchJob | None:
    for pause in _LOOKS[:3]:
        await asyncio.sleep(pause)
        jobs = await context.scheduler.find(name, user=user)
        if jobs:
            return jobs[0]
    return None


async def tidy(context: KernelContext) -> None:
    """End what programs left behind that were killed and that nobody comes back for.

    Kernels of a named owner wait for it, and their launchers' leases.
    """
    oldest = datetime.now(UTC) - _STALE
    for record in context.records.all(owner=""):
        young = datetime.fromisoformat(record.created) > oldest
        if young or not context.records.is_abandoned(record.kernel_id):
            continue
        try:
            jobs = (record.job,) if record.job else ()
            for found in jobs or await context.scheduler.find(
                record.name, user=record.user
            ):
                await context.scheduler.cancel(found)
        except GatewayError as error:
            log.info("Kernel job %s is left for later: %s", record.name, error)
            continue
        context.records.remove(record.kernel_id)
        shutil.rmtree(record.near, ignore_errors=True)
