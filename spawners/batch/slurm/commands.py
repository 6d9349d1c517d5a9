"""Slurm's commands, run with a deadline, in a known environment, one way only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from spawners.batch.errors import BatchError

from .cluster import SlurmConfig, config_argv, parse_config
from .errors import query_error
from .notation import CLIENT_ENVIRONMENT

if TYPE_CHECKING:
    from ..runners.direct import CommandRunner, Completed

_CONFIG_SECONDS = 600


@dataclass(frozen=True, slots=True)
class SlurmSettings:
    """How patient to be, and what our account may see.

    Where Slurm is (``SLURM_CONF``, directories) is a setting of the runner.

    Attributes:
        command_timeout: deadline of each command. Slurm's clients give up by
            themselves after 10 to 20 s without a controller and after 49 s when
            munged has crashed; with less their last words are never heard.
        sees_all_jobs: our account is root's or an operator's, so that it sees all
            jobs also where ``PrivateData=jobs`` hides them from users.
        snapshot_age, limits_age: how old facts may be that a request is checked
            against.
    """

    command_timeout: timedelta = timedelta(seconds=60)
    sees_all_jobs: bool = False
    snapshot_age: timedelta = timedelta(seconds=60)
    limits_age: timedelta = timedelta(minutes=5)


class SlurmCommands:
    """Runs Slurm's commands and turns their failures into our errors."""

    def __init__(self, runner: CommandRunner, settings: SlurmSettings) -> None:
        self.settings = settings
        self._runner = runner
        self._config: SlurmConfig | None = None
        self._config_read = 0.0
        self._configuring = asyncio.Lock()

    @property
    def hides_jobs(self) -> bool:
        """True where queries must run as each user; False until :meth:`config`."""
        hidden = self._config is not None and self._config.hides_jobs
        return hidden and not self.settings.sees_all_jobs

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a command; whatever it says is for the caller to judge.

        Raises:
            SchedulerUnavailable: it did not end in time.
        """
        return await self._runner.run(
            argv,
            user=user,
            stdin=stdin,
            env=CLIENT_ENVIRONMENT if env is None else env,
            timeout=self.settings.command_timeout.total_seconds(),
        )

    async def query(self, argv: Sequence[str], *, user: str | None = None) -> Completed:
        """Run a command that asks.

        Raises:
            SchedulerUnavailable, AuthenticationBroken, NotPermitted: it failed.
        """
        done = await self.run(argv, user=user)
        self.expect_success(argv[0], done)
        return done

    async def read_tail(self, path: str, user: str, max_bytes: int) -> bytes:
        """Return the end of a file, as :meth:`CommandRunner.read_tail` does."""
        return await self._runner.read_tail(path, user=user, max_bytes=max_bytes)

    def expect_success(self, command: str, done: Completed) -> None:
        """Raise what the failure of a query means, if it is one."""
        if done.returncode != 0:
            raise query_error(command, done.stderr)

    async def config(self) -> SlurmConfig:
        """Return the controller's configuration, read again every ten minutes.

        The last good one is kept while the controller is away.
        """
        async with self._configuring:
            age = monotonic() - self._config_read
            if self._config is None or age > _CONFIG_SECONDS:
                try:
                    done = await self.query(config_argv())
                    self._config = parse_config(done.stdout)
                except BatchError:
                    if self._config is None:
                        raise
                self._config_read = monotonic()
            return self._config
