"""JupyterHub as a client of Landbridge's jobs service.

Differences to a plain JupyterHub: it starts servers as jobs, serves the gateway's own
API, resumes starts that a killed hub left half done, and leaves jobs
alone when it goes down.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from sqlalchemy import or_
from traitlets import Instance, default
from traitlets.config import Config

from services.common.web.short_lines import keep_lines_short
from services.jobs.settings import Site
from spawners.batch.explain.failure import Failure
from spawners.common.errors import GatewayError
from spawners.common.file_lock import hold_for_life
from spawners.common.files import ensure_secret
from spawners.common.request_id import log_requests
from spawners.common.settings import ConfigError
from spawners.common.sockets import service_url
from spawners.notebooks.spawner import BatchJobSpawner
from spawners.notebooks.start import owner_key

from .api import accounts as accounts_api
from .api import servers as jobs_api
from .assemble import assemble
from .auth.account_looks import Look
from .auth.account_rule import AccountRule, ruled
from .auth.identities import Identities
from .config.paths import database_url, prepare_state
from .config.secrets import operator_token_file
from .config.settings import Settings, load_settings
from .config.site import detect
from .gateway import HubGateway, open_gateway
from .http_server import bound_http_servers
from .log_filter import keep_sessions_private
from .mended import mended
from .pages import handlers as page_api
from .recovery import Verdict, judge
from .run.client import health_path, service_answers
from .run.service_watch import ServiceWatch
from .services import service_sockets, service_specs
from .sessions import visits
from .sessions.keeper import SessionKeeper
from .sessions.signed_in import SETTING, with_sessions

# How long a hub that is ending has for letting go.
_OTHER_HUB_SECONDS = 15.0


class LandbridgeHub(JupyterHub):  # type: ignore[misc]  # it is untyped
    """The hub. Configured as ``JupyterHub``, plus the traits below."""

    name = "jupyterhub"

    settings = Instance(Settings, help="The site's settings; default: read anew.")
    site = Instance(Site, help="What `auto` came to; default: asked of the machine.")

    @default("settings")
    def _default_settings(self) -> Settings:
        return load_settings(os.environ)

    @default("site")
    def _default_site(self) -> Site:
        return detect(self.settings)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gateway: HubGateway | None = None
        self.keeper: SessionKeeper | None = None
        self._services_starting: set[asyncio.Task[bool]] = set()
        self._service_watch = ServiceWatch(self.log)

    # -- start ---------------------------------------------------------------------

    def init_logging(self) -> None:
        """Log as JupyterHub does: short lines, requests' ids, no values of cookies."""
        super().init_logging()
        keep_sessions_private()
        handlers = [*self.log.handlers, *logging.getLogger().handlers]
        keep_lines_short(handlers)
        log_requests(handlers)

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        """Read the site's file; without one, the settings say everything."""
        super().load_config_file(*args, **kwargs)
        if "proxy_class" not in self.config.JupyterHub:
            assembled = Config()
            assemble(assembled, self.settings, self.site)
            # What a file or the command line says holds.
            assembled.merge(self.config)
            self.update_config(assembled)

    @default("authenticator")
    def _authenticator_default(self) -> AccountRule:
        """Make the authenticator, with the rule for names before the site's own."""
        kind = ruled(self.authenticator_class)
        return kind(parent=self, _deprecated_db_session=self.db)

    async def init_users(self) -> None:
        """Learn of all jobs with the users: servers are looked at after that."""
        await super().init_users()
        try:
            self.gateway = await open_gateway(self.settings, self.site)
        except GatewayError as error:
            self.log.critical("%s", error)
            self.exit(1)
        self.keeper = await SessionKeeper.open(
            self, database_url(self.settings, "sessions"), self.settings.hub.session
        )
        if hasattr(self.authenticator, "identities"):
            self.authenticator.identities = await Identities.open(
                database_url(self.settings, "sessions")
            )

    def _watch_accounts(self) -> None:
        """Look at the accounts of all who may be signed in; others add themselves."""
        if not getattr(self.authenticator, "own_accounts", False):
            return
        recent = datetime.now(UTC).replace(tzinfo=None) - self.settings.hub.session
        here = orm.User.last_activity.is_(None) | (orm.User.last_activity >= recent)
        names = [user.name for user in self.db.query(orm.User).filter(here)]
        self.authenticator.looks.start(names, self._account_changed)

    def _account_changed(self, name: str, look: Look) -> None:
        """Take over what was seen of an account: groups left and joined."""
        orm_user = orm.User.find(self.db, name)
        if orm_user is None:
            return
        if look.fault:
            self.log.warning("Sessions and tokens are refused: %s", look.fault)
            if self.keeper is not None:
                self.keeper.sessions.end_all(name)
            return
        if self.authenticator.groups_differ(orm_user, look):
            self.users[orm_user].sync_groups(list(look.groups))

    def init_proxy(self) -> None:
        """Tell the proxy how to find a job's server."""
        super().init_proxy()
        if self.proxy.has_trait("resolve_target"):
            self.proxy.resolve_target = self._address_of

    def init_tornado_settings(self) -> None:
        """Let spawners and handlers find the gateway; bound what requests may hold."""
        bound_http_servers()
        self.tornado_settings["landbridge"] = self.gateway
        if self.keeper is not None:
            self.tornado_settings[SETTING] = self.keeper.sessions
            self.tornado_settings["landbridge_admit"] = self.keeper.admit
        # A start takes as long as its queue: nobody's request waits for it.
        self.tornado_settings.setdefault("slow_spawn_timeout", 1)
        self.template_vars["landbridge_failure"] = self._failures_of
        self.template_vars["landbridge_away"] = self._jobs_are_away
        super().init_tornado_settings()

    def init_handlers(self) -> None:
        """Serve the gateway's API beside the hub's."""
        configured = list(self.extra_handlers)  # type: ignore[has-type]
        self.extra_handlers = [
            *jobs_api.handlers,
            *page_api.handlers,
            *accounts_api.handlers,
            *visits.handlers,
            *configured,
        ]
        super().init_handlers()
        self.handlers = with_sessions(mended(self.handlers))  # type: ignore[has-type]

    async def init_spawners(self) -> int:
        """Take up servers: interrupted starts are resumed, none is stopped on doubt."""
        # While a start is resumed it has begun, but has no server's row for a moment.
        begun = or_(
            orm.Spawner.server_id.is_not(None), orm.Spawner.started.is_not(None)
        )
        for orm_spawner in self.db.query(orm.Spawner).filter(begun):
            self._take_up(orm_spawner)
        self.db.commit()
        count: int = await super().init_spawners()
        # Not earlier: users that are made before the spawners' class is known get
        # JupyterHub's own, and nothing of theirs is taken up.
        self._watch_accounts()
        return count

    def _take_up(self, orm_spawner: orm.Spawner) -> None:
        if self.gateway is None or orm_spawner.user is None:
            return
        owner = owner_key(orm_spawner.user.name, orm_spawner.name)
        verdict = judge(orm_spawner, self.gateway.jobs.current(owner))
        if verdict is Verdict.LEAVE:
            return
        user = self.users[orm_spawner.user]
        spawner = user.spawners[orm_spawner.name]
        if not isinstance(spawner, BatchJobSpawner):
            return
        spawner.server = None
        if verdict is Verdict.DROP:
            orm_spawner.started, orm_spawner.state = None, {}
            spawner.clear_state()
        if verdict is Verdict.RESUME:
            self.log.info("Resuming the start of %s", spawner._log_name)
            spawner._spawn_pending = True
            spawner._spawn_future = asyncio.ensure_future(self._resume(user, spawner))
            spawner._spawn_future.add_done_callback(
                lambda future: _settle(spawner, future)
            )

    async def _resume(self, user: Any, spawner: BatchJobSpawner) -> None:
        """Start a server again as its user had asked; it attaches to its job."""
        # A refusal can come before the first wait, and routes need the proxy.
        await self._start_future
        await user.spawn(spawner.name)
        spawner._proxy_pending = True
        try:
            await self.proxy.add_user(user, spawner.name)
        except Exception:
            self.log.exception("Cannot add %s to the proxy", spawner._log_name)
            await user.stop(spawner.name)
        else:
            spawner.add_poll_callback(self._stopped, user, spawner.name)
        finally:
            spawner._proxy_pending = False

    async def init_api_tokens(self) -> None:
        """Take over services' tokens; one that is not a service's any more is dead."""
        own = {
            spec.name: spec.api_token
            for spec in service_specs(self.settings, self._operator_token())
        }
        for service in self.db.query(orm.Service):
            for token in list(service.api_tokens):
                kept = own.get(service.name)
                if kept is not None and not token.match(kept):
                    self.db.delete(token)
        self.db.commit()
        await super().init_api_tokens()

    def _operator_token(self) -> str:
        return ensure_secret(operator_token_file(self.settings))

    async def start_service(
        self, service_name: str, service: Any, ssl_context: Any = None
    ) -> bool:
        """Start a site's own service without waiting for it, and none of the gateway's.

        JupyterHub would wait until it answers, and end itself when it does not.
        One that ends is started again, see :mod:`hub.run.service_watch`.
        """
        if service_name not in self._own_sockets():
            self._service_watch.watch(service_name, service)
            task = asyncio.create_task(
                super().start_service(service_name, service, ssl_context)
            )
            self._services_starting.add(task)
            task.add_done_callback(self._services_starting.discard)
        return True

    async def check_services_health(self) -> None:
        """Say which services do not answer: ours at their sockets, others at URLs."""
        own = self._own_sockets()
        for name, service in list(self._service_map.items()):
            if not service.url:
                continue
            if name in own:
                path = health_path(self.settings, name)
                answers = await asyncio.to_thread(service_answers, own[name], path)
            else:
                answers = await _answers(service)
            if not answers:
                self.log.warning(
                    "Cannot connect to %s service %s at %s",
                    service.kind,
                    name,
                    own.get(name, service.url),
                )

    def _own_sockets(self) -> dict[str, Path]:
        """Return where services of the gateway listen, those that a site left as is."""
        known = self._service_map
        return {
            name: Path(path)
            for name, path in service_sockets(self.settings).items()
            if name in known and known[name].url == service_url(name)
        }

    async def _stopped(self, user: Any, server_name: str) -> None:
        await self.proxy.delete_user(user, server_name)
        await user.stop(server_name)

    # -- while it runs -------------------------------------------------------------

    def _address_of(self, host: str) -> str | None:
        return self.gateway.address_of(host) if self.gateway else None

    def _failures_of(self, user: Any) -> Callable[[str], Failure | None]:
        """Return the look-up of a user's failures by server name, for templates."""

        def failure(server_name: str) -> Failure | None:
            if self.gateway is None:
                return None
            record = self.gateway.jobs.current(owner_key(user.name, server_name or ""))
            return record.failure if record else None

        return failure

    def _jobs_are_away(self, _user: Any) -> bool:
        """Return for templates whether pages show what was last known of jobs."""
        return self.gateway is not None and not self.gateway.jobs.connected

    # -- end -------------------------------------------------------------------------

    async def shutdown_cancel_tasks(self, sig: signal.Signals | None = None) -> None:
        """Go down, and leave the jobs of starts under way to the next hub."""
        if self.gateway is not None:
            self.gateway.closing = True
        await super().shutdown_cancel_tasks(sig)

    async def cleanup(self) -> None:
        """Clean up as JupyterHub does, then leave the jobs service."""
        if self.gateway is not None and not self.cleanup_servers:
            self.gateway.closing = True
        await super().cleanup()
        if self.keeper is not None:
            await self.keeper.close()
        if isinstance(self.authenticator, AccountRule):
            await self.authenticator.looks.close()
        if identities := getattr(self.authenticator, "identities", None):
            await identities.close()
        if self.gateway is not None:
            await self.gateway.close()


async def _answers(service: Any) -> bool:
    """Tell whether a service that a site has added answers."""
    try:
        await service.server.wait_up(timeout=service.timeout, http=True)
    except TimeoutError:
        return False
    return True


def _settle(spawner: BatchJobSpawner, future: asyncio.Future[None]) -> None:
    """Keep a failed start for the page that explains it, as JupyterHub does."""
    if future.cancelled() or future.exception() is None:
        spawner._spawn_future = None
    spawner._spawn_pending = False


def _be_the_only_hub(settings: Settings) -> None:
    """Refuse to take the socket of a hub that runs.

    Raises:
        ConfigError: one does, or the state directory cannot be used.
        OSError: likewise.
    """
    prepare_state(settings)
    lock = settings.state / "run" / "hub.lock"
    if not hold_for_life(lock, _OTHER_HUB_SECONDS):
        raise ConfigError(settings.state, ["another hub runs here; stop it first."])


def main(argv: list[str] | None = None) -> None:
    """Run the hub in the foreground, with ``jupyterhub_config.py`` beside the settings.

    ``--config FILE`` names another one; other arguments are JupyterHub's.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        settings = load_settings(os.environ)
        _be_the_only_hub(settings)
    except (ConfigError, OSError) as error:
        sys.exit(f"landbridge-hub: {error}")
    if not any(word.split("=")[0] in ("-f", "--config") for word in arguments):
        path = settings.folder / "jupyterhub_config.py"
        arguments += [f"--config={path}"] if path.is_file() else []
    LandbridgeHub.launch_instance(arguments)


if __name__ == "__main__":
    # Under its own name, or there would be two of each class.
    from hub.app import main as run

    run()
