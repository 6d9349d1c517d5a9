"""Notebook servers as batch jobs, for JupyterHub.

:class:`BatchJobSpawner` is a ``batchspawner.BatchSpawnerBase`` whose settings keep
their meaning and whose jobs go through the batch core: written down before they
are submitted, watched by one query for all, and never taken for dead on a doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import jupyterhub.apihandlers
from batchspawner import BatchSpawnerBase
from batchspawner.api import BatchSpawnerAPIHandler
from jupyterhub.spawner import Spawner, SpawnException
from traitlets import Any as AnyTrait
from traitlets import Float, Integer, Unicode, default

from spawners.batch.errors import InvalidSpec
from spawners.batch.explain.vocabulary import SERVER
from spawners.batch.jobs.errors import AlreadyLive
from spawners.batch.jobs.record import JobRecord
from spawners.batch.models import JobSpec, Launch, new_job_name
from spawners.common.errors import GatewayError
from spawners.notebooks.launch import notebook_launch
from spawners.profiles.choices import options_from_form

from .errors import StartFailed
from .options import LaunchPlan, Requester, choose, plain_form
from .probe import Answer, PeerServer, Reach, peer_url
from .script import SpecParts, job_spec, resources_from
from .start import (
    PUT_BACK,
    Clocks,
    ServerHost,
    ends_within,
    follow,
    owner_key,
    server_is_over,
    wait_ready,
)
from .state import ServerState, TokenCipher, commit, find_token, revoke

_GOOD_BYE = timedelta(seconds=5)

# batchspawner's own callback sets any attribute of the spawner that a job names.
# Importing batchspawner registers it; our jobs report elsewhere, so it goes.
jupyterhub.apihandlers.default_handlers[:] = [
    route
    for route in jupyterhub.apihandlers.default_handlers
    if route[1] is not BatchSpawnerAPIHandler
]


class BatchJobSpawner(BatchSpawnerBase):  # type: ignore[misc]  # it is untyped
    """A notebook server that is a batch job of its user.

    What a site has set on ``c.SlurmSpawner`` counts here as well; ``exec_prefix`` and
    the ``batch_*_cmd`` have no effect.
    """

    # -- settings: batchspawner's own, and what Landbridge adds ----------------------

    start_timeout = Integer(
        30 * 86_400,
        help="Seconds that a start may take with its time in the queue. The clocks "
        "that matter are `queue_timeout` and `launch_timeout`.",
    ).tag(config=True)
    queue_timeout = Float(
        None,
        allow_none=True,
        help="Seconds that a start may wait in the queue; default: as long as it "
        "takes.",
    ).tag(config=True)
    launch_timeout = Float(
        300,
        min=1,
        help="Seconds from the job's start on its node to a server that reports.",
    ).tag(config=True)
    http_timeout = Integer(
        60, help="Seconds from that report until the hub must reach the server."
    ).tag(config=True)
    stop_timeout = Float(
        30,
        min=0,
        help="Seconds that a stop waits to see the job end. The wish stays, however "
        "long it takes.",
    ).tag(config=True)
    warn_before = Float(
        300,
        min=0,
        help="Seconds before its time limit that a job is warned; 0 for never. Not "
        "with a `batch_script` of the site's own.",
    ).tag(config=True)
    consecutive_failure_limit = Integer(
        0, help="Failed starts in a row after which the hub ends itself; 0: never."
    ).tag(config=True)

    req_qos = Unicode("", help="QoS to submit with.").tag(config=True)
    req_reservation = Unicode("", help="Reservation to submit to.").tag(config=True)
    req_gres = Unicode("", help="GPUs, as `gpu:2` or `gpu:a100:2`.").tag(config=True)
    req_constraint = Unicode("", help="Node features to ask for.").tag(config=True)
    req_cluster = Unicode("", help="Kept for scripts that name it.").tag(config=True)
    req_srun = Unicode(
        "", help="Prefix of the server's command in the job, such as `srun`."
    ).tag(config=True)

    profiles = AnyTrait(
        None,
        allow_none=True,
        help="What users may pick, as `spawners.profiles.profiles` reads it; `None` "
        "gives every server what the `req_` settings say.",
    ).tag(config=True)

    @classmethod
    def section_names(cls) -> list[str]:
        """Return the names of the configuration's sections, the last one wins."""
        names: list[str] = super().section_names()
        at = names.index("BatchSpawnerBase") + 1
        return [*names[:at], "BatchSpawnerRegexStates", "SlurmSpawner", *names[at:]]

    #: The hub's side; found in JupyterHub's settings, or set by a test.
    host: ServerHost | None = None
    job_name = ""
    #: What a page says that was opened by a link with options.
    link_notice = "Nothing was started. Check the form and press Start."

    def __init__(self, **kwargs: Any) -> None:
        self._submitted = asyncio.Event()
        self.token_id: int | None = None
        self._plan: LaunchPlan | None = None
        self._reach: Reach | None = None
        self._with_token = False
        self._watch: asyncio.Task[None] | None = None
        super().__init__(**kwargs)

    @property
    def gateway(self) -> ServerHost:
        """The hub's side of every server."""
        if self.host is None:
            self.host = self.user.settings.get("landbridge")
        if self.host is None:
            raise RuntimeError("This spawner runs under Landbridge's own hub only.")
        return self.host

    @property
    def owner(self) -> str:
        """The batch core's key for this server."""
        return owner_key(self.user.name, self.name)

    @property
    def record(self) -> JobRecord | None:
        """The job of the newest start, ``None`` before the first."""
        return self.gateway.jobs.get(self.job_name) if self.job_name else None

    # -- what it is made of ------------------------------------------------------

    @default("req_homedir")
    def _default_homedir(self) -> str:
        return self.gateway.workdir_of(self.user.name)

    @default("req_keepvars")
    def _default_keepvars(self) -> str:
        return ""

    @property
    def requester(self) -> Requester:
        """Who starts this server, and on what cluster."""
        return Requester(
            groups=frozenset(group.name for group in self.user.groups),
            admin=bool(self.user.admin),
            snapshot=self.gateway.jobs.snapshot,
        )

    def plan(self, options: object) -> LaunchPlan:
        """Return what to start for these options, by the site's closed schema.

        Raises:
            InvalidSpec: naming the option and what is allowed.
        """
        return choose(
            self.profiles, options, resources_from(self._req()), self.requester
        )

    def _req(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.get_req_subvars().items()}

    @default("options_form")
    def _default_options_form(self) -> Any:
        return lambda spawner: plain_form(spawner.offers())

    def offers(self) -> list[tuple[str, str]]:
        """Return key and name of what this user may pick."""
        if self.profiles is None:
            return []
        requester = self.requester
        offered = self.profiles.for_user(
            requester.groups, admin=requester.admin, snapshot=requester.snapshot
        )
        return [(profile.key, profile.title) for profile in offered]

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return self._read_form

    def _read_form(self, form: dict[str, Any]) -> dict[str, object]:
        try:
            return options_from_form(form)
        except InvalidSpec as error:
            raise StartFailed.from_error(error) from error

    def options_from_query(self, query_data: dict[str, Any]) -> dict[str, object]:
        """Refuse to start from a link: a link may fill in the form, no more."""
        raise SpawnException(
            self.link_notice,
            reason="link",
            status_code=200,
        )

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        return _check_options

    # -- JupyterHub's own view of the server -----------------------------------

    @property
    def reach(self) -> Reach:
        """Asks the server whether it answers."""
        if self._reach is None:
            self._reach = Reach(self.gateway.jobs, self.gateway.tls)
        return self._reach

    @property
    def reachable(self) -> bool | None:
        """Whether the server answered when last asked, ``None`` if never asked."""
        return self._reach.answered if self._reach else None

    @property
    def server(self) -> PeerServer | None:
        """The server as JupyterHub's database knows it, asked on our terms."""
        plain = Spawner.server.fget(self)
        if plain is None:
            return None
        if not (
            isinstance(plain, PeerServer)
            and plain.wait_reachable
            and plain.follows(plain.orm_server)
        ):
            self._server = plain = PeerServer(orm_server=plain.orm_server)
            plain.wait_reachable = self._wait_reachable
        return plain

    @server.setter
    def server(self, server: Any) -> None:
        Spawner.server.fset(self, server)

    async def get_url(self) -> str:
        """Return where the server is, as the job itself last reported."""
        record = self.record
        if record is None or record.address is None:
            url: str = await super().get_url()
            return url
        base: str = self.server.base_url if self.server else "/"
        return peer_url(record.name, record.address) + base

    async def _wait_reachable(self, path: str, limit_seconds: float) -> Answer:
        if self._check_pending or not self._start_pending:
            return await self.reach.verify(self.job_name, path)
        limit = timedelta(seconds=limit_seconds)
        try:
            answer = await self.reach.first_answer(self.job_name, path, limit)
        except StartFailed as error:
            await self._give_up(error)
            raise
        self._remember(with_token=False)
        return answer

    # -- start -------------------------------------------------------------------

    async def start(self) -> str:
        """Submit the job, or attach to the one that is there, and wait for it.

        Returns the URL under which the hub and the proxy know the server.

        Raises:
            StartFailed: with what happened and what to try, in words.
        """
        try:
            record = await self._job()
            clocks = Clocks(
                timedelta(seconds=self.queue_timeout) if self.queue_timeout else None,
                timedelta(seconds=self.launch_timeout),
            )
            address = await wait_ready(self.gateway.jobs, record.name, clocks)
        except GatewayError as error:
            raise StartFailed.from_error(error) from error
        except StartFailed as error:
            await self._give_up(error)
            raise
        except asyncio.CancelledError:
            # Somebody cancelled the start. If the hub itself goes down instead, the
            # job stays, and the next hub attaches to it.
            if self.job_name and not self.gateway.closing:
                self.gateway.cancel(self.job_name)
            raise
        return peer_url(record.name, address)

    async def _job(self) -> JobRecord:
        jobs = self.gateway.jobs
        current = jobs.current(self.owner)
        if current is not None and current.wanted:
            return await self._attach(current)
        plan = self.plan(self.user_options)
        if current is not None and current.live:
            await self._wait_for_end(current)
        try:
            return await self._submit(plan)
        except AlreadyLive as error:
            return await self._attach(error.record)

    async def _attach(self, record: JobRecord) -> JobRecord:
        """Take over a job that an earlier hub, or a second click, submitted."""
        stored = ServerState.read(self.orm_spawner.state)
        token = self._token_cipher.open(stored.token)
        same = stored.job == record.name and find_token(self.orm_spawner, token)
        if same:
            # The job has this token: JupyterHub drops the new one.
            self.api_token = token
        self.job_name = record.name
        if not (same and stored.launched) and record.address is None:
            # Of a version that submitted none, or with a token that has gone.
            await self.gateway.jobs.give_launch(record.name, self.launch())
        self._is_job(record)
        self.log.info("Attached %s to its job %s", self._log_name, record.name)
        return record

    async def _wait_for_end(self, record: JobRecord) -> None:
        limit = timedelta(seconds=self.stop_timeout)
        if not await ends_within(self.gateway.jobs, record.name, limit):
            raise StartFailed.timed_out(
                "The last server is still being stopped",
                "Its end was asked for, and the scheduler has not confirmed it yet.",
                "Wait a moment, then start again.",
            )

    async def _submit(self, plan: LaunchPlan) -> JobRecord:
        gateway = self.gateway
        name = new_job_name()
        account = gateway.account_of(self.user.name)
        self._plan = plan
        self._is_job_named(name)
        spec = self._spec(name, plan)
        # A cancelled start must not leave a submission behind that nobody awaits.
        submission = asyncio.ensure_future(
            gateway.jobs.submit(
                spec,
                user=account,
                owner=self.owner,
                facts={"profile": plan.profile, "title": plan.title},
                launch=self.launch(),
                vocabulary=SERVER,
            )
        )
        try:
            record = await asyncio.shield(submission)
        except asyncio.CancelledError:
            if not gateway.closing:
                gateway.cancel(name)
            raise
        finally:
            self._submitted.set()
        self._is_job(record)
        self.log.info(
            "Submitted %s as job %s of %s",
            self._log_name,
            record.job.id if record.job else name,
            account,
        )
        return record

    def _spec(self, name: str, plan: LaunchPlan) -> JobSpec:
        return job_spec(
            SpecParts(
                name=name,
                command=self.gateway.agent_command(),
                workdir=self.gateway.workdir_of(self.user.name),
                output=self.gateway.output_of(self.user.name, self.name),
                comment="landbridge server",
                warn_before=timedelta(seconds=self.warn_before),
            ),
            plan,
            req=self._req(),
            template=self.batch_script,
        )

    def _is_job_named(self, name: str) -> None:
        self._submitted.clear()
        self.job_name, self.job_id = name, ""
        self._remember(with_token=True)

    def _is_job(self, record: JobRecord) -> None:
        self.job_name = record.name
        self.job_id = record.job.id if record.job else ""
        self._remember(with_token=True)
        self._submitted.set()

    def _remember(self, *, with_token: bool) -> None:
        """Store name and token now: JupyterHub does so only after ``start()``."""
        self.token_id = find_token(self.orm_spawner, self.api_token)
        self._with_token = with_token
        commit(self.orm_spawner, self.get_state())

    async def _give_up(self, error: StartFailed) -> None:
        """Keep the reason where it can be read later, and end the job."""
        name = self.job_name
        if not name:
            return
        record = self.gateway.jobs.get(name)
        if record is not None and record.live:
            await self.gateway.fail(name, error.failure)

    @property
    def _token_cipher(self) -> TokenCipher:
        return TokenCipher(self.user.settings.get("cookie_secret", b""))

    def launch(self) -> Launch:
        """Return what this server's job starts: command, environment, programs.

        Raises:
            InvalidSpec: it is too large to be handed over.
        """
        arguments = [str(item) for item in self.get_args()]
        if self.gateway.account_of(self.user.name) == "root":
            # scheduler.everybody_is_root: a container that holds nothing else, a test.
            arguments.append("--allow-root")
        requester = self.requester
        kernels = self.gateway.kernel_config(
            self.user.name, requester.groups, admin=requester.admin
        )
        return notebook_launch(self.get_env(), arguments, kernels=kernels)

    def get_env(self) -> dict[str, str]:
        """Return the server's environment. It holds secrets: never log it."""
        env: dict[str, str] = super().get_env()
        api = self.gateway.api_url
        env["JUPYTERHUB_API_URL"] = api
        env["JUPYTERHUB_ACTIVITY_URL"] = (
            f"{api}/users/{self.user.escaped_name}/activity"
        )
        env["JUPYTERHUB_SERVICE_URL"] = (
            f"https://0.0.0.0:0{env.get('JUPYTERHUB_SERVICE_PREFIX', '/')}"
        )
        home = self.gateway.home_of(self.user.name)
        if home is not None:
            # All users' jobs are one account's: its home is the operator's own.
            env["HOME"] = home
        plan = self._plan or self.plan(self.user_options)
        env.update(plan.environment)
        return env

    # -- poll, stop, progress ------------------------------------------------------

    async def poll(self) -> int | None:
        """Return ``None`` unless it is certain that the job has ended."""
        if not self.job_name:
            return None if self._start_pending else 0
        record = self.record
        if record is None or record.live:
            self.reach.look_again(
                self.job_name,
                self._api_path,
                lambda: self.log.info("%s can be reached again", self._log_name),
            )
            return None
        status = record.status
        if status.exit_code:
            return status.exit_code
        if status.signal:
            return 128 + status.signal
        return 1 if record.failure is not None else 0

    @property
    def _api_path(self) -> str:
        return f"{self.server.base_url}api" if self.server else "/api"

    def start_polling(self) -> None:
        """Notice the job's end at once, besides polling now and then."""
        super().start_polling()
        self._watch = asyncio.ensure_future(self._notice_end(self.job_name))

    def stop_polling(self) -> None:
        """Watch the job no more."""
        super().stop_polling()
        if self._watch is not None and self._watch is not asyncio.current_task():
            self._watch.cancel()
        self._watch = None

    async def _notice_end(self, name: str) -> None:
        record = self.gateway.jobs.get(name)
        if record is not None:
            record = await self.gateway.jobs.wait(name, server_is_over)
            if record.wanted:
                await self.gateway.fail(name, PUT_BACK)
            await self.gateway.jobs.wait(name, lambda r: not r.live)
        if name == self.job_name:
            await self.poll_and_notify()

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002
        """Wish the job's end, and wait a while to see it.

        The wish is kept and repeated until the scheduler confirms the end, also when
        this returns before. The server has its token for some seconds, to say good-bye
        (it ends its kernels' keys to storage), unless it is to end ``now``.
        """
        try:
            await self._stop(now=now)
        finally:
            revoke(self.orm_spawner, self.token_id)

    async def _stop(self, *, now: bool) -> None:
        if self._reach is not None:
            self._reach.close()
        name = self.job_name
        record = self.record
        if not name or (record is not None and not record.live):
            return
        self.gateway.cancel(name)
        if now:
            return
        limit = timedelta(seconds=self.stop_timeout)
        good_bye = min(limit, _GOOD_BYE)
        if await ends_within(self.gateway.jobs, name, good_bye):
            return
        revoke(self.orm_spawner, self.token_id)
        if not await ends_within(self.gateway.jobs, name, limit - good_bye):
            self.log.warning(
                "Job %s of %s has not ended yet; its end stays wanted",
                name,
                self._log_name,
            )

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the stored log of this start from its first line."""
        await self._submitted.wait()
        async for event in follow(self.gateway.jobs, self.owner, self.job_name):
            yield event

    # -- what JupyterHub stores -----------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return what a later hub needs to find the job again."""
        state: dict[str, Any] = super().get_state()
        token = self._token_cipher.close(self.api_token) if self._with_token else ""
        stored = ServerState(self.job_name, token, self.token_id, launched=True)
        state.update(stored.written())
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what an earlier hub stored."""
        super().load_state(state)
        stored = ServerState.read(state)
        self.job_name, self.token_id = stored.job, stored.token_id
        self._with_token = bool(stored.token)

    def clear_state(self) -> None:
        """Forget the job; its record and log stay with the batch core."""
        super().clear_state()
        self.job_name, self.token_id = "", None
        self._with_token = False


def _check_options(spawner: BatchJobSpawner, options: object) -> None:
    """Refuse bad options before anything is done, and never store them."""
    try:
        spawner.user_options = dict(spawner.plan(options).options)
    except GatewayError as error:
        spawner.user_options = {}
        raise StartFailed.from_error(error) from error
    finally:
        spawner.orm_spawner.user_options = dict(spawner.user_options)
