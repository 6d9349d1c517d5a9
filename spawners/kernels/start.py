"""How a kernel's job is started, and found again. For the tunnels' loop only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from datetime import UTC, datetime, timedelta
from time import monotonic

from spawners.batch.explain.failure import Failure
from spawners.batch.explain.states import explain_refusal
from spawners.batch.explain.vocabulary import KERNEL
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.record import JobRecord
from spawners.batch.models import JobSpec
from spawners.batch.rendezvous.launch import agent_command
from spawners.batch.script import render_job_script
from spawners.common.backoff import growing
from spawners.common.errors import GatewayError
from spawners.node.kernel.names import Json

from .context import KernelContext
from .errors import KernelJobEnded, KernelNotStarted, KernelUnreachable
from .facts import KernelFacts, is_let_go
from .job import KernelJob
from .launch import kernel_launch
from .status import cannot_start

log = logging.getLogger(__name__)

_STEP_SECONDS = 1.0
_END_SECONDS = 5.0
_STALE = timedelta(minutes=10)

_AWAY = Failure(
    "The jobs service does not answer",
    "It is not known whether the kernel still runs.",
    "Try again in a minute.",
)
CANCELLED = Failure("Cancelled", "The kernel was not wanted any more.")


async def start(job: KernelJob, told: Json, prologue: tuple[str, ...]) -> None:
    """Submit the job, wait however long it takes, return with a running kernel.

    Whatever else happens, a job that was submitted is cancelled. So are jobs that
    programs left behind which were killed.

    Args:
        job: that was not submitted yet.
        told: what its launcher is told (:func:`~.launch.kernel_launch`).
        prologue: shell lines of the profile.

    Raises:
        KernelNotStarted: it was refused, or ended before the kernel ran.
    """
    try:
        await _start(job, told, prologue)
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


async def _start(job: KernelJob, told: Json, prologue: tuple[str, ...]) -> None:
    context, settings = job.context, job.context.settings
    job.claim()
    await job.tunnel.open()
    jobs = await context.jobs()
    job.spawn(tidy(context))
    job.output = context.log_path(job.name)
    warn = _warn_before(job)
    record = await jobs.submit(
        _spec(job, prologue, warn),
        user=context.account,
        owner=job.owner,
        facts=job.facts.to_facts(),
        launch=kernel_launch(
            job.name, told, settings, warn_before=warn.total_seconds()
        ),
        vocabulary=KERNEL,
    )
    if job.over:
        raise KernelNotStarted(CANCELLED)
    job.follow(record)
    await _await_kernel(job)


def _warn_before(job: KernelJob) -> timedelta:
    """Return how long before its end a job is warned, a short one in its last third."""
    limit, warn = job.resources.time_limit, job.context.settings.warn_before
    return max(warn if limit is None else min(warn, limit / 3), timedelta(seconds=1))


def _spec(job: KernelJob, prologue: tuple[str, ...], warn: timedelta) -> JobSpec:
    settings = job.context.settings
    return JobSpec(
        name=job.name,
        # A gateway's service makes its own, with its own prologue of the profile.
        script=render_job_script(
            agent_command(settings.python or "python3"),
            prologue=(*settings.prologue, *prologue),
        ),
        resources=job.resources,
        workdir=job.context.home,
        output=job.output or None,
        warn_before=warn,
        comment="Jupyter kernel",
        options=settings.options,
    )


async def _await_kernel(job: KernelJob) -> None:
    """Wait through the queue, the launch, and the first contact."""
    patience = job.context.settings.launch_timeout.total_seconds()
    jobs = await job.context.jobs()
    running_since: float | None = None
    while True:
        record = job.record
        if job.over or job.ended is not None:
            raise KernelNotStarted(job.ended or CANCELLED)
        if record is not None and record.address is not None:
            break
        if record is None or not record.status.state.on_nodes:
            running_since = None
        elif running_since is None:
            running_since = monotonic()
        elif monotonic() - running_since > patience:
            failure = _silent(job)
            await jobs.give_up(job.name, failure)
            raise KernelNotStarted(failure)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STEP_SECONDS):
                await job.moved.wait()
    await _attach(job, patience)


async def _attach(job: KernelJob, patience: float) -> None:
    deadline = monotonic() + patience
    while True:
        try:
            await job.attach()
        except (OSError, TimeoutError) as error:
            if job.over or job.ended is not None:
                raise KernelNotStarted(job.ended or CANCELLED) from None
            if monotonic() > deadline:
                raise KernelNotStarted(_silent(job, str(error))) from error
            await asyncio.sleep(0.3)
        else:
            break
    if "failed" in job.exit_facts:
        why = str(job.exit_facts["failed"])[:1000]
        raise KernelNotStarted(cannot_start(why, job.host))


def _silent(job: KernelJob, trouble: str = "") -> Failure:
    address = None if job.record is None else job.record.address
    if address is None:
        detail = "It has not told the jobs service where its kernel answers."
    else:
        detail = f"No connection was made at {address.address} port {address.port}."
    return Failure(
        "The kernel's job runs, but cannot be reached",
        f"{detail} {trouble}".rstrip(),
        "Tell your site's operators which connection fails: a firewall may be in "
        "the way between the nodes.",
    )


async def find(context: KernelContext, kernel_id: str) -> tuple[KernelFacts, JobRecord]:
    """Return what is recorded of a kernel, its newest job.

    Raises:
        KernelNotStarted: nothing is.
        KernelUnreachable: the jobs service does not answer now.
    """
    try:
        records = (await context.jobs()).records(live_only=False)
    except GatewayError as error:
        raise KernelUnreachable(explain_refusal(error)) from error
    for record in reversed(records):
        facts = KernelFacts.of(record)
        if facts is not None and facts.kernel_id == kernel_id:
            if is_let_go(record) and not record.live:
                break
            return facts, record
    raise KernelNotStarted(Failure("Nothing is known of this kernel"))


async def adopt(job: KernelJob, record: JobRecord) -> None:
    """Become the owner of a kernel that was found again.

    Returns when it is attached, which takes as long as its job's queue.

    Raises:
        KernelJobEnded: its job is over; the record is gone.
        KernelNotStarted: it cannot be had any more; its job is cancelled.
        KernelUnreachable: the jobs service does not answer now; the job goes on.
    """
    if not job.claim():
        raise KernelNotStarted(
            Failure("The kernel belongs to another program", "It is alive and uses it.")
        )
    await job.tunnel.open()
    try:
        await _adopt(job, record)
    except GatewayError as error:
        await job.detach()
        raise KernelUnreachable(explain_refusal(error)) from error
    except KernelJobEnded:
        await job.end()
        raise
    except KernelNotStarted:
        await _give_up(job)
        raise
    except BaseException:
        await job.detach()  # it is to be found again
        raise


async def _adopt(job: KernelJob, record: JobRecord) -> None:
    if is_let_go(record):
        raise KernelNotStarted(Failure("The kernel was being shut down"))
    await job.recall_keeping()
    job.output = record.output or ""
    job.follow(record)
    if job.ended is not None:
        raise KernelJobEnded(job.ended)
    if record.address is None:
        await _await_kernel(job)
        return
    for pause in growing(0.1, 5.0, 1.5):
        try:
            await job.attach()
        except (OSError, TimeoutError, GatewayError):
            if job.ended is not None:
                raise KernelJobEnded(job.ended) from None
            await asyncio.sleep(pause)
        else:
            return


async def end_left(context: KernelContext, kernel_id: str) -> None:
    """End a kernel that an earlier server left and that this one has not had again.

    Raises:
        KernelUnreachable: the jobs service does not answer now; nothing is changed.
    """
    try:
        async with asyncio.timeout(_END_SECONDS):
            jobs = await context.jobs()
            for record in jobs.records(live_only=False):
                facts = KernelFacts.of(record)
                if facts is None or facts.kernel_id != kernel_id:
                    continue
                with contextlib.suppress(UnknownJob):
                    if record.wanted:
                        await jobs.cancel(record.name)
                    await jobs.release(record.name)
    except TimeoutError:
        raise KernelUnreachable(_AWAY) from None
    except GatewayError as error:
        raise KernelUnreachable(explain_refusal(error)) from error
    context.claims.remove(kernel_id)


async def tidy(context: KernelContext) -> None:
    """End what programs left behind that were killed and that nobody comes back for.

    Kernels of a named server wait for it, and their launchers' leases.
    """
    oldest = datetime.now(UTC) - _STALE
    jobs = await context.jobs()
    for record in jobs.records(live_only=False):
        facts = KernelFacts.of(record)
        if facts is None or facts.server or record.created > oldest:
            continue
        if not context.claims.is_abandoned(facts.kernel_id):
            continue
        try:
            if record.wanted:
                await jobs.cancel(record.name)
            await jobs.release(record.name)
        except GatewayError as error:
            log.info("Kernel job %s is left for later: %s", record.name, error)
            continue
        context.claims.remove(facts.kernel_id)
        shutil.rmtree(facts.near, ignore_errors=True)
