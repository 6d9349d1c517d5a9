"""Rows of the table of clients that come from the hub's registry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rigs.services.plain import SERVICE, PlainSettings
from services.common.service import HubRights, JobsRights, Service
from services.jobs.clients import HUB, check_rights, table
from spawners.batch.errors import NotPermitted
from spawners.batch.jobs.record import Retain
from spawners.batch.jobs.wire import Submission
from spawners.batch.models import JobSpec, Launch, Resources, new_job_name


def having(kind: str) -> Service[PlainSettings]:
    rights = JobsRights(kind, live=10, live_each=4, why="It sleeps.")
    return Service(
        name=f"{kind}s",
        title="A service",
        why="",
        running="",
        settings=PlainSettings,
        hub_rights=lambda section: HubRights((), ""),
        scopes={},
        jobs=rights,
    )


def submission(owner: str, *, with_script: bool = False) -> Submission:
    spec = JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/tmp")
    asked = Submission.of(
        spec,
        user="alice",
        owner=owner,
        facts={},
        launch=Launch(("true",)),
        retain=Retain.NONE,
    )
    return asked if with_script else replace(asked, script=None)


def test_a_service_that_has_jobs_is_a_client_of_its_kind_alone() -> None:
    hub, row = table([SERVICE, having("sleeper")])
    assert hub == HUB
    assert (row.name, row.prefixes, row.live, row.live_each) == (
        "sleepers",
        ("sleeper:",),
        10,
        4,
    )
    assert not row.reads_all
    check_rights(row, submission("sleeper:alice/1"))
    for owner in ("server:alice/", "kernel:alice/x", "sleepers:alice/1"):
        with pytest.raises(NotPermitted, match="may not have jobs"):
            check_rights(row, submission(owner))
        assert not row.sees(owner)
    with pytest.raises(NotPermitted, match="script"):
        check_rights(row, submission("sleeper:alice/1", with_script=True))


@pytest.mark.parametrize("kind", ["server", "kernel"])
def test_no_service_has_jobs_of_another_kind(kind: str) -> None:
    with pytest.raises(ValueError, match="one kind"):
        table([having(kind)])


def test_no_two_services_have_jobs_of_one_kind() -> None:
    with pytest.raises(ValueError, match="one kind"):
        table([having("sleeper"), having("sleeper")])
