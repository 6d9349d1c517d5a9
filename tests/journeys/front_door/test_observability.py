"""What operators see: one id of a request in all logs, and numbers of all processes."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

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
    connection, _, number = answer.headers["x-request-id"].partition(".")
    assert UUID(connection)
    assert int(number) >= 1


METRICS = {
    "/hub/metrics": {"jupyterhub_request_duration_seconds", "landbridge_call_seconds"},
    "/jobs/metrics": {"landbridge_request_seconds", "landbridge_jobs_live"},
    "/services/storage/metrics": {
        *("landbridge_request_seconds", "landbridge_call_seconds", "landbridge_tasks")
    },
}


def ask_metrics(hub: HubProcess, path: str, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"http://127.0.0.1:{hub.port}{path}"
    return httpx.get(url, headers=headers, trust_env=False)


@pytest.mark.parametrize(("path", "names"), METRICS.items())
def test_each_process_tells_its_numbers_to_who_has_the_token(hub, path, names):
    file = hub.state / "secrets" / "service-metrics.token"
    assert file.stat().st_mode & 0o777 == 0o600
    answer = ask_metrics(hub, path, file.read_text().strip())
    assert answer.status_code == 200, answer.text
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    assert names <= families


@pytest.mark.parametrize("path", METRICS)
@pytest.mark.parametrize("token", ["", "another-token"])
def test_nobody_else_reads_them(hub, path, token):
    assert ask_metrics(hub, path, token).status_code in (401, 403)


def test_requests_are_counted_by_route_and_status(hub):
    assert hub.api.get("/services/storage/api/v1/buckets/x/usage").status_code == 403
    token = (hub.state / "secrets" / "service-metrics.token").read_text().strip()
    counts = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(
            ask_metrics(hub, "/services/storage/metrics", token).text
        )
        for sample in family.samples
        if sample.name == "landbridge_request_seconds_count"
    }
    assert counts["buckets/{bucket}/usage", "403"] == 1
