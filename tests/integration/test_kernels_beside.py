"""Kernels as jobs of their own where there is no batch system but this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hub_process import ADMIN_TOKEN, HubProcess, hub_of_its_own, server_process, until
from notebook_rig import Channel
from websockets.sync.client import connect

JOB = "import os; print(os.environ['LANDBRIDGE_JOB_ID'])"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with hub_of_its_own() as hub:
        yield hub


class Server:
    """ann's notebook server, through the edge."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.hub.api.request(method, f"/user/ann/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def start(self) -> None:
        self.hub.start_server("ann")
        self.hub.wait_state("ann", "ready")
        until("it answers", lambda: self.hub.answers("ann"))

    def stop(self) -> None:
        self.hub.stop_server("ann")
        self.hub.wait_state("ann", "stopped")

    def wait(self, kernel: str, state: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            answer = self.hub.api.get(f"/user/ann/landbridge/kernels/{kernel}")
            view = dict(answer.json()) if answer.is_success else {}
            return view if view.get("state") == state else None

        return dict(until(f"{kernel} is {state}", look))

    @contextlib.contextmanager
    def channel(self, kernel: str) -> Iterator[Channel]:
        session = uuid.uuid4().hex
        path = f"user/ann/api/kernels/{kernel}/channels?session_id={session}"
        with connect(
            f"ws://127.0.0.1:{self.hub.port}/{path}",
            additional_headers={"Authorization": f"token {ADMIN_TOKEN}"},
            open_timeout=60,
            max_size=None,
        ) as socket:
            yield Channel(socket, session)

    def run(self, kernel: str, code: str) -> str:
        with self.channel(kernel) as channel:
            return channel.run(code)


def test_a_kernel_outlives_hub_and_server_and_if_kept_its_servers_job(
    hub: HubProcess,
) -> None:
    hub.add_user("ann")
    server = Server(hub)
    server.start()
    names = server.call("GET", "api/kernelspecs")["kernelspecs"]
    name = next(n for n in names if ".lb." in n and not n.endswith(".choose"))
    kernel = server.call("POST", "api/kernels", {"name": name})["id"]
    server.wait(kernel, "running")
    job = server.run(kernel, f"x = 4711; {JOB}")
    # One queue for the hub's jobs and the kernels'.
    assert (hub.state / "local/jobs" / job / "run.json").exists()

    os.kill(server_process(hub, "ann"), signal.SIGKILL)
    until("it answers again", lambda: hub.answers("ann"))
    server.wait(kernel, "running")
    assert server.run(kernel, f"print(x); {JOB}").split() == ["4711", job]

    hub.kill()
    assert server.run(kernel, "print(x)") == "4711"  # the edge goes on
    hub.start()
    until("it answers", lambda: hub.answers("ann"))
    assert server.run(kernel, f"print(x); {JOB}").split() == ["4711", job]

    body = {"keep": True, "hours": 1}
    assert server.call("PUT", f"landbridge/kernels/{kernel}/keep", body)["keep"]
    server.stop()
    server.start()
    server.wait(kernel, "running")
    assert server.run(kernel, f"print(x); {JOB}").split() == ["4711", job]

    server.call("PUT", f"landbridge/kernels/{kernel}/keep", {"keep": False})
    server.stop()
    ended = hub.state / "local/jobs" / job / "end.json"
    until("the kernel's job has ended", ended.exists)
    usage = hub.call("GET", "landbridge/usage?user=ann")
    kernels = [entry for entry in usage["jobs"] if entry["kind"] == "kernel"]
    assert [entry["job_id"] for entry in kernels] == [job]
    assert kernels[0]["cpu_hours"] > 0
