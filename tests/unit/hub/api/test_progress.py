"""Whose progress is told while a start is not written down yet."""

from types import SimpleNamespace

import pytest

from hub.api.servers import is_before

OLD, NEW = "lb-old", "lb-new"


@pytest.mark.parametrize(
    ("pending", "job", "state", "name", "before"),
    [
        ("spawn", "", "failed", OLD, True),
        ("spawn", NEW, "stopped", OLD, True),
        # It is this start that failed, and JupyterHub is about to hear of it.
        ("spawn", NEW, "failed", NEW, False),
        # The job of before is still being ended, which is what the start waits for.
        ("spawn", "", "stopping", OLD, False),
        ("spawn", NEW, "queued", NEW, False),
        (None, "", "failed", OLD, False),
        ("stop", "", "stopped", OLD, False),
    ],
)
def test_an_end_is_told_of_the_start_under_way_only(pending, job, state, name, before):
    spawner = SimpleNamespace(pending=pending, job_name=job)
    assert is_before(spawner, {"state": state, "job": {"name": name}}) is before


def test_a_server_without_a_spawner_is_not_starting():
    assert not is_before(None, {"state": "failed", "job": {"name": OLD}})
