"""A request id that a client typed is in the log of every process that it passed."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from rigs.hub.process import HubProcess, hub_of_its_own, until

ID = "typed-by-a-client.{}"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with hub_of_its_own(storage=True) as hub:
        hub.add_user("ann")
        yield hub


def lines(hub: HubProcess, request_id: str) -> list[str]:
    log = hub.log.read_text(errors="replace").splitlines()
    return [line for line in log if f"[{request_id}]" in line]


def test_a_server_is_started_under_one_id_at_hub_and_jobs_service(hub):
    request_id = ID.format(1)
    answer = hub.api.post(
        "/hub/api/users/ann/server", headers={"X-Request-ID": request_id}
    )
    assert answer.status_code in (201, 202), answer.text
    assert answer.headers["x-request-id"] == request_id

    def passed() -> bool:
        found = lines(hub, request_id)
        return any("/hub/api/users/ann/server" in line for line in found) and any(
            " jobs " in line and "PUT /v1/jobs/" in line and " hub (" in line
            for line in found
        )

    until("both have written it down", passed)
    hub.clear("ann")


def test_storage_tells_it_in_its_log_and_in_errors(hub):
    request_id = ID.format(2)
    answer = hub.api.get(
        "/services/storage/api/v1/nowhere", headers={"X-Request-ID": request_id}
    )
    assert answer.status_code == 404
    assert answer.headers["x-request-id"] == request_id
    assert answer.json()["error"]["id"] == request_id
    until("it is in the log", lambda: lines(hub, request_id))


@pytest.mark.parametrize("typed", ["", "short", 'quote"and blank', "x" * 65])
def test_who_types_none_that_is_good_gets_one(hub, typed):
    answer = hub.api.get("/hub/api/", headers={"X-Request-ID": typed})
    assert UUID(answer.headers["x-request-id"])
