"""Kernels as jobs of their own where there is no batch system but this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from rigs.hub.process import HubProcess, hub_of_its_own, server_process, until
from rigs.notebooks.on_hub import NotebookServer

JOB = "import os; print(os.environ['LANDBRIDGE_JOB_ID'])"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with hub_of_its_own() as hub:
        yield hub


def test_a_kernel_outlives_hub_and_server_and_if_kept_its_servers_job(
    hub: HubProcess,
) -> None:
    hub.add_user("ann")
    server = NotebookServer(hub, "ann")
    server.start()
    names = server.call("GET", "api/kernelspecs")["kernelspecs"]
    name = next(n for n in names if ".lb." in n and not n.endswith(".choose"))
    kernel = server.call("POST", "api/kernels", {"name": name})["id"]
    server.wait(kernel, "running")
    job = server.run(kernel, f"x = 4711; {JOB}")
    # One queue for the hub's jobs and the kernels'.
    assert (hub.state / "local/jobs" / job / "run.json").exists()
    # Users of one account have homes of their own, in their servers and beyond.
    home = str(hub.state / "users/ann")
    beside = server.call("POST", "api/kernels", {"name": "python3"})["id"]
    for each in (kernel, beside):
        assert server.run(each, "import pathlib; print(pathlib.Path.home())") == home
    server.call("DELETE", f"api/kernels/{beside}")

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
