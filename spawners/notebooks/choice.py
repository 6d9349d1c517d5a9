"""A batch server's choices: who asks, what for, and whether they may have it."""

from __future__ import annotations

from typing import Any

from jupyterhub.spawner import SpawnException
from traitlets import default

from spawners.batch.errors import InvalidSpec
from spawners.batch.jobs.record import JobRecord
from spawners.common.errors import GatewayError
from spawners.profiles.choices import options_from_form

from .errors import refused
from .options import Asker, Plan, choose, plain_form
from .script import resources_from
from .start import ServerHost, owner_key
from .traits import ServerSettings


class ChoosingSpawner(ServerSettings):
    """What a server is made of, before it is started."""

    #: The hub's side; found in JupyterHub's settings, or set by a test.
    host: ServerHost | None = None
    job_name = ""
    #: What a page says that was opened by a link with options.
    link_notice = "Nothing was started. Check the form and press Start."

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

    @default("req_homedir")
    def _default_homedir(self) -> str:
        return self.gateway.workdir_of(self.user.name)

    @default("req_keepvars")
    def _default_keepvars(self) -> str:
        return ""

    @property
    def asker(self) -> Asker:
        """Who starts this server, and on what cluster."""
        return Asker(
            groups=frozenset(group.name for group in self.user.groups),
            admin=bool(self.user.admin),
            snapshot=self.gateway.jobs.snapshot,
        )

    def plan(self, options: object) -> Plan:
        """Return what to start for these options, by the site's closed schema.

        Raises:
            InvalidSpec: naming the option and what is allowed.
        """
        return choose(self.profiles, options, resources_from(self._req()), self.asker)

    def _req(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.get_req_subvars().items()}

    @default("options_form")
    def _default_options_form(self) -> Any:
        return lambda spawner: plain_form(spawner.offers())

    def offers(self) -> list[tuple[str, str]]:
        """Return key and name of what this user may pick."""
        if self.profiles is None:
            return []
        asker = self.asker
        offered = self.profiles.for_user(
            asker.groups, admin=asker.admin, snapshot=asker.snapshot
        )
        return [(profile.key, profile.title) for profile in offered]

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return self._read_form

    def _read_form(self, form: dict[str, Any]) -> dict[str, object]:
        try:
            return options_from_form(form)
        except InvalidSpec as error:
            raise refused(error) from error

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


def _check_options(spawner: ChoosingSpawner, options: object) -> None:
    """Refuse bad options before anything is done, and never store them."""
    try:
        spawner.user_options = dict(spawner.plan(options).options)
    except GatewayError as error:
        spawner.user_options = {}
        raise refused(error) from error
    finally:
        spawner.orm_spawner.user_options = dict(spawner.user_options)
