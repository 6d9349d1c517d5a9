"""The gateway between JupyterHub and the batch core."""

from __future__ import annotations

import asyncio
import os
import pwd
import ssl
from pathlib import Path
from typing import Any

import pytest

from hub import gateway as wiring
from hub.config.settings import load_settings
from hub.gateway import HubGateway, JobPaths
from services.jobs.settings import Site
from spawners.batch.errors import NotPermitted
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.service_client import ServiceAway
from spawners.common.errors import DatabaseUnavailable


class Jobs:
    """What of the batch core the gateway calls, failing on request."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.cancelled: list[str] = []
        self.closed = False

    async def cancel(self, name: str) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.cancelled.append(name)

    async def close(self) -> None:
        self.closed = True


def gateway(tmp_path: Path, jobs: Any, *, users: Path | None = None) -> HubGateway:
    return HubGateway(
        jobs=jobs,
        tls=ssl.create_default_context(),
        places=JobPaths(
            api_url="https://h/hub/api",
            workdir="{home}",
            log_directory="/logs/{user}",
            users=users,
            python="/usr/bin/python3",
        ),
    )


async def test_a_wish_is_kept_while_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "_FIRST_RETRY_SECONDS", 0.01)
    jobs = Jobs(DatabaseUnavailable("away"), DatabaseUnavailable("away"))
    async with asyncio.timeout(5):
        await gateway(tmp_path, jobs).cancel("lb-a")
    assert jobs.cancelled == ["lb-a"]


async def test_nothing_is_wished_of_a_job_that_never_was(tmp_path: Path) -> None:
    jobs = Jobs(UnknownJob("never"))
    await gateway(tmp_path, jobs).cancel("lb-a")
    assert jobs.cancelled == []


async def test_without_accounts_each_user_has_a_home_of_ours(tmp_path: Path) -> None:
    made = gateway(tmp_path, Jobs(), users=tmp_path / "users")
    assert made.account_of("ann") == pwd.getpwuid(os.geteuid()).pw_name
    home = Path(made.workdir_of("ann"))
    assert home == tmp_path / "users" / "ann"
    assert made.home_of("ann") == str(home)
    assert home.stat().st_mode & 0o777 == 0o700
    for name in ("..", ".", "a/b", "../ann"):
        with pytest.raises(NotPermitted):
            made.workdir_of(name)
        with pytest.raises(NotPermitted):
            made.home_of(name)


async def test_with_accounts_a_user_without_one_gets_no_job(tmp_path: Path) -> None:
    made = gateway(tmp_path, Jobs())
    assert made.account_of("ann") == "ann"
    assert made.home_of("ann") is None
    assert made.workdir_of("root") == pwd.getpwnam("root").pw_dir
    with pytest.raises(NotPermitted, match="no account"):
        made.workdir_of("nobody-has-this-name")
    assert made.output_of("ann", "x") == "/logs/ann/.landbridge-server-x.log"


async def test_closing_leaves_the_jobs_alone(tmp_path: Path) -> None:
    jobs = Jobs()
    made = gateway(tmp_path, jobs)
    await made.close()
    assert made.closing
    assert jobs.closed
    assert jobs.cancelled == []


async def test_a_hub_without_a_jobs_service_says_what_to_start(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    settings = load_settings(
        {"LANDBRIDGE_CONFIG": str(path), "LANDBRIDGE_STATE": str(tmp_path / "var")}
    )
    site = Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", 8001)
    with pytest.raises(ServiceAway, match=r"jobs\.sock.*landbridge jobs"):
        await wiring.open_gateway(settings, site, patience_seconds=0.3)
