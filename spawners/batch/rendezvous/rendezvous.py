"""Where a started job proves itself and reports: fetch, ready, ended.

The HTTP layer hands over the body and the caller's address, and sends the answer::

    launches = StoredLaunches(store, secrets, settings.job_side)
    jobs = Jobs(scheduler, store, launches=launches)
    rendezvous = Rendezvous(
        jobs, pki.jobs_ca, StoredProofs(store), launches, settings
    )
    answer = await rendezvous.fetch(body, peer)  # Answer(status, json); so ready, ended

Serve it only after ``Jobs.start()``: a job that the hub does not know ends itself.
An answer of :meth:`Rendezvous.fetch` holds secrets: never log it.

What a job says is a claim. Who it is follows from its proof, whether it is wanted
from its record, where it may be reached from the scheduler's own words. Hashes of
its secrets are stored, so a restart of the hub between the calls changes nothing. What
it starts came with its submission: nobody else need be there when it asks.
"""

from __future__ import annotations

import asyncio
import logging
import pwd
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from spawners.common.addresses import plain_address, resolve
from spawners.common.errors import GatewayError

from ..jobs.errors import StaleReport
from ..jobs.record import Address, JobEvent, JobRecord
from ..models import Launch
from ..scheduler import ClusterSnapshot
from .certificates import CertificateAuthority, job_host
from .launch import JobSideSettings
from .messages import (
    Answer,
    Ended,
    Fetch,
    Json,
    Proofs,
    ProofState,
    Ready,
    Refusal,
    Refused,
    Report,
    clean_log,
    parse,
)
from .proofs import (
    MungeVerifier,
    ProofRefused,
    TokenVerifier,
    digest,
    matches,
    new_secret,
    payload,
)

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Report)
Resolve = Callable[[str], Awaitable[list[str]]]


class JobsView(Protocol):
    """What of :class:`~spawners.batch.jobs.jobs.Jobs` is used here."""

    @property
    def snapshot(self) -> ClusterSnapshot | None:
        """Return the last reading of the cluster."""

    def get(self, name: str) -> JobRecord | None:
        """Return a record by its name."""

    def current(self, owner: str) -> JobRecord | None:
        """Return the newest record of an owner."""

    async def wait(self, name: str, until: Callable[[JobRecord], object]) -> JobRecord:
        """Return the record once ``until`` holds for it."""

    async def note(self, name: str, kind: str, message: str) -> JobEvent:
        """Append to the job's story."""

    async def report_ready(self, name: str, address: Address) -> object:
        """Store where the job's server answers."""

    async def report_ended(
        self, name: str, exit_code: int | None, signal: int | None, log_tail: str
    ) -> None:
        """Store what the job said about its end."""

    def heard_of(self, name: str) -> None:
        """Read the job's state soon: it exists, and something changed."""


class LaunchesView(Protocol):
    """What of :class:`~.launches.StoredLaunches` is used here."""

    async def load(self, name: str) -> Launch | None:
        """Return what a job starts, ``None`` if nothing is kept for it."""


@dataclass(frozen=True, slots=True)
class RendezvousSettings:
    """Settings of the hub's side.

    Attributes:
        job_side: what jobs are told; its ``proof`` is the only one accepted.
        node_wait: how long a call waits for the scheduler to tell the job's node.
        repeat_within: for how long a request with a one-time token may be sent
            again, with the same nonce and from the same address.
        server_lifetime: of a job's certificate; longer than any job may run.
    """

    job_side: JobSideSettings
    node_wait: timedelta = timedelta(seconds=20)
    repeat_within: timedelta = timedelta(minutes=10)
    server_lifetime: timedelta = timedelta(days=400)


class Rendezvous:
    """The hub's side of the three calls. One per hub.

    Args:
        jobs: the records.
        jobs_ca: signs the jobs' server certificates.
        proofs: keeps hashes between calls and restarts.
        launches: keeps what jobs start.
        settings: see :class:`RendezvousSettings`.
        munge: decodes credentials; used when the proof is ``"munge"``.
        resolve_host: addresses of a host name, for clusters that tell names only.
    """

    def __init__(
        self,
        jobs: JobsView,
        jobs_ca: CertificateAuthority,
        proofs: Proofs,
        launches: LaunchesView,
        settings: RendezvousSettings,
        *,
        munge: MungeVerifier | None = None,
        resolve_host: Resolve = resolve,
    ) -> None:
        self._jobs = jobs
        self._ca = jobs_ca
        self._proofs = proofs
        self._launches = launches
        self._settings = settings
        self._munge = munge or MungeVerifier()
        self._tokens = TokenVerifier()
        self._resolve = resolve_host
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def fetch(self, body: bytes, peer: str) -> Answer:
        """Answer a job that asks for what it needs to start."""
        return await self._answer(Fetch, self._fetch, body, peer)

    async def ready(self, body: bytes, peer: str) -> Answer:
        """Take a job's word that its server listens."""
        return await self._answer(Ready, self._ready, body, peer)

    async def ended(self, body: bytes, peer: str) -> Answer:
        """Take a job's word that its server ended."""
        return await self._answer(Ended, self._ended, body, peer)

    async def _answer(
        self,
        kind: type[R],
        handle: Callable[[R, JobRecord, ProofState, str], Awaitable[Json]],
        body: bytes,
        peer: str,
    ) -> Answer:
        what = kind.__name__.lower()
        name = ""
        try:
            report = parse(kind, body)
            state = await self._state(report.job)
            name = state.name
            lock = self._locks.setdefault(name, asyncio.Lock())
            async with lock:
                state = await self._state(name)  # may have changed while we waited
                record = self._record(name)
                return Answer(200, await handle(report, record, state, peer))
        except Refused as refused:
            log.warning(
                "Refused a %s of job %s from %s: %s", what, name or "?", peer, refused
            )
            return refused.refusal.answer()
        except StaleReport:
            return Refusal.OVER.answer()
        except GatewayError as error:
            log.error("Cannot check a %s of job %s: %s", what, name, error)  # noqa: TRY400
            return Refusal.NOT_NOW.answer()

    def _record(self, name: str) -> JobRecord:
        record = self._jobs.get(name)
        if record is None:
            # Once prepared and not even its owner's newest: long over.
            raise Refused(Refusal.OVER, "no record")
        return record

    async def _state(self, name: str) -> ProofState:
        state = await self._proofs.load(name)
        if state is None:
            raise Refused(Refusal.NO_PROOF, "no such job")
        return state

    async def _fetch(
        self, request: Fetch, record: JobRecord, state: ProofState, peer: str
    ) -> Json:
        try:
            if self._settings.job_side.proof == "munge":
                await self._check_munge(request, record)
            else:
                await self._check_token(request, record, state, peer)
        except ProofRefused as refused:
            raise Refused(Refusal.NO_PROOF, str(refused)) from None
        record = self._wanted(record.name, state)
        if record.address is not None:
            raise Refused(Refusal.REPEATED, "fetched again after it was ready")
        launch = await self._launches.load(record.name)
        if launch is None:
            # Of an earlier version, and whoever submitted it has not handed it in yet.
            raise Refused(Refusal.NO_LAUNCH)
        pair = self._ca.issue_server(
            job_host(record.name), lifetime=self._settings.server_lifetime
        )
        secret = new_secret()
        await self._proofs.save(
            replace(
                state,
                nonce_hash=digest(request.nonce),
                fetched_at=datetime.now(UTC),
                fetched_from=plain_address(peer),
                report_hash=digest(secret),
                fingerprint=pair.fingerprint,
            )
        )
        if not state.nonce_hash:
            self._jobs.heard_of(record.name)
            await self._jobs.note(
                record.name,
                "starting",
                f"The job runs; its {record.vocabulary.subject} starts.",
            )
        return {
            "report_secret": secret,
            "key": pair.key,
            "certificate": pair.certificate,
            "fingerprint": pair.fingerprint,
            "authority": self._ca.certificate,
            "environment": {**launch.environment, **_times(record)},
            "argv": list(launch.argv),
            "files": dict(launch.files),
        }

    async def _check_munge(self, request: Fetch, record: JobRecord) -> None:
        identity = await self._munge.identity(
            request.proof, payload(record.name, request.nonce)
        )
        uid = record.job.uid if record.job else None
        if uid is None:
            uid = await asyncio.to_thread(_uid_here, record.user)
        # A hub without accounts knows names only, and so does unmunge at the far end.
        same = identity.user == record.user if uid is None else identity.uid == uid
        if not same:
            raise ProofRefused(f"made by uid {identity.uid}")

    async def _check_token(
        self, request: Fetch, record: JobRecord, state: ProofState, peer: str
    ) -> None:
        self._tokens.check(request.proof, state.token_hash)
        if state.nonce_hash and not self._is_repetition(request, state, peer):
            raise ProofRefused("the token was used before")
        record = await self._on_nodes(record)
        addresses = [a for node in record.status.nodes for a in await self._reach(node)]
        if plain_address(peer) not in addresses:
            raise ProofRefused("the token came from somewhere else")

    def _is_repetition(self, request: Fetch, state: ProofState, peer: str) -> bool:
        recent = state.fetched_at is not None and (
            datetime.now(UTC) - state.fetched_at < self._settings.repeat_within
        )
        same_place = state.fetched_from == plain_address(peer)
        return recent and same_place and matches(request.nonce, state.nonce_hash)

    async def _ready(
        self, report: Ready, record: JobRecord, state: ProofState, peer: str
    ) -> Json:
        self._check_secret(report.secret, state)
        record = self._wanted(record.name, state)
        if report.fingerprint != state.fingerprint:
            raise Refused(Refusal.WRONG_KEY)
        known = record.address
        if known is not None:
            if (known.host, known.port) == (report.host, report.port):
                return {"ok": True}  # the answer to the first one was lost
            raise Refused(Refusal.REPEATED, "ready again, elsewhere")
        record = await self._on_nodes(record)
        if report.host not in record.status.nodes:
            raise Refused(Refusal.WRONG_HOST)
        addresses = await self._reach(report.host)
        if not addresses:
            raise Refused(Refusal.NOT_YET, f"no address of {report.host} is known")
        self._wanted(record.name, state)  # may have changed while we waited
        came_from = plain_address(peer)
        address = came_from if came_from in addresses else addresses[0]
        await self._jobs.report_ready(
            record.name, Address(report.host, address, report.port, report.fingerprint)
        )
        return {"ok": True}

    async def _ended(
        self, report: Ended, record: JobRecord, state: ProofState, peer: str
    ) -> Json:
        self._check_secret(report.secret, state)
        if not state.ended:
            await self._jobs.report_ended(
                record.name, report.exit_code, report.signal, clean_log(report.log)
            )
            await self._proofs.save(replace(state, ended=True))
        return {"ok": True}

    def _check_secret(self, secret: str, state: ProofState) -> None:
        if not matches(secret, state.report_hash):
            raise Refused(Refusal.NO_PROOF, "wrong report secret")

    def _wanted(self, name: str, state: ProofState) -> JobRecord:
        """Return the record as it is now, or refuse a job that is to end."""
        record = self._record(name)
        if state.ended or not record.may_report(self._jobs.current(record.owner)):
            raise Refused(Refusal.OVER)
        return record

    async def _on_nodes(self, record: JobRecord) -> JobRecord:
        """Return the record once the scheduler told its nodes, or refuse."""

        def told(record: JobRecord) -> bool:
            return bool(record.status.state.on_nodes and record.status.nodes)

        if not told(record):
            self._jobs.heard_of(record.name)
            try:
                async with asyncio.timeout(self._settings.node_wait.total_seconds()):
                    record = await self._jobs.wait(
                        record.name, lambda r: told(r) or not r.live
                    )
            except TimeoutError:
                raise Refused(Refusal.NOT_YET) from None
        if not told(record):
            raise Refused(Refusal.OVER, "ended while it was waited for")
        return record

    async def _reach(self, node: str) -> list[str]:
        """Return the addresses of a node that the scheduler named."""
        snapshot = self._jobs.snapshot
        known = snapshot.node_addresses.get(node, node) if snapshot else node
        address = plain_address(known)
        return [address] if address else await self._resolve(known)


def _times(record: JobRecord) -> dict[str, str]:
    """Return what is known only once a job has started: when its time is up."""
    ends = record.status.ends
    return {} if ends is None else {"LANDBRIDGE_JOB_ENDS": ends.isoformat()}


def _uid_here(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
