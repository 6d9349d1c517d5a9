"""What a client sees of kernels in jobs, through a real notebook server."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

import httpx

from rigs.checkout import CHECKOUT
from rigs.notebooks.server import until, until_gone

JOB = "import os; print(os.environ['LANDBRIDGE_JOB_ID'])"
LAUNCHER = "import os; print(os.getppid())"


def test_every_kernel_is_offered_with_every_profile_and_a_choice(server):
    specs = server.api.get("api/kernelspecs").json()["kernelspecs"]
    assert {"python3", "python3.lb.cpu", "python3.lb.gpu", "python3.lb.choose"} <= set(
        specs
    )
    gpu = specs["python3.lb.gpu"]["spec"]
    assert gpu["display_name"] == "Python 3 (ipykernel) · 1 GPU · 2 h"
    assert gpu["metadata"]["landbridge"] == {"profile": "gpu"}
    choose = specs["python3.lb.choose"]["spec"]
    assert choose["display_name"].endswith("· choose resources…")
    assert choose["metadata"]["landbridge"] == {"choose": True}
    assert "landbridge" not in specs["python3"]["spec"]["metadata"]
    assert server.api.get("api/kernelspecs/python3.lb.gpu").status_code == 200
    for wrong in (
        "python3.lb.none",
        "python3.lb.",
        "none.lb.gpu",
        "python3.lb.gpu.lb.cpu",
    ):
        assert server.api.get(f"api/kernelspecs/{wrong}").status_code == 404


def test_a_kernel_beside_the_server_is_as_ever(server):
    kernel = server.start_kernel("python3")
    assert server.model(kernel)["execution_state"] in ("starting", "idle")
    assert server.view(kernel)["state"] == "local"
    assert server.run(kernel, "print(6 * 7)") == "42"
    assert server.records == []
    assert server.api.post(f"api/kernels/{kernel}/interrupt").status_code == 204
    assert server.api.post(f"api/kernels/{kernel}/restart").status_code == 200
    assert server.api.post(f"landbridge/kernels/{kernel}/cancel").status_code == 409
    assert server.api.delete(f"api/kernels/{kernel}").status_code == 204
    assert server.api.get(f"api/kernels/{kernel}").status_code == 404


def test_a_kernel_runs_restarts_in_its_job_and_ends_with_it(server):
    kernel = server.start_kernel()
    with server.channel(kernel) as channel:
        job = channel.run(JOB)
        assert channel.states[0] == "starting"
        view = server.view(kernel)
        assert (view["state"], view["job_id"]) == ("running", job)
        assert view["resources"]["summary"] == "1 CPU, 256 MB, 1 h"
        channel.run("x = 1")
        assert server.api.post(f"api/kernels/{kernel}/restart").status_code == 200
        assert channel.run("print('x' in globals())") == "False"
        assert channel.run(JOB) == job
        channel.states.clear()
        cell = channel.execute("import time; time.sleep(60)")
        server.wait_state(kernel, "running")
        channel.hear_state("busy")
        time.sleep(0.3)  # the cell is in its sleep
        assert server.api.post(f"api/kernels/{kernel}/interrupt").status_code == 204
        assert channel.result(cell).startswith("KeyboardInterrupt")
        pid = int(channel.run(LAUNCHER))
    assert server.api.delete(f"api/kernels/{kernel}").status_code == 204
    assert server.records == []
    until_gone(pid)


def test_the_servers_secrets_do_not_travel(server):
    kernel = server.start_kernel()
    names = server.run(kernel, "import os; print(' '.join(os.environ))").split()
    assert not {"SECRET_OF_THE_SERVER", "JUPYTER_TOKEN", "JUPYTERHUB_USER"} & set(names)
    server.api.delete(f"api/kernels/{kernel}")


def test_a_queue_is_waited_for_told_and_left_at_once(server):
    first = server.start_kernel("python3.lb.all")
    server.wait_state(first, "running")
    began = time.monotonic()
    second = server.start_kernel("python3.lb.gpu")
    assert time.monotonic() - began < 1
    assert server.model(second)["execution_state"] == "starting"
    server.wait_state(second, "queued")
    until(lambda: server.view(second)["queue_place"] == 1, 10, "the place in line")
    assert "number 1 in line" in server.view(second)["message"]
    with server.channel(second) as channel:
        channel.hear_state("starting", 5)
        for action in ("interrupt", "restart"):
            answer = server.api.post(f"api/kernels/{second}/{action}")
            assert answer.status_code == 409, answer.text
        began = time.monotonic()
        assert server.api.delete(f"api/kernels/{second}").status_code == 204
        assert time.monotonic() - began < 1.5
        channel.hear_state("dead", 5)
    assert server.api.get(f"landbridge/kernels/{second}").status_code == 404
    until(lambda: server.records == [first], 5)
    third = server.start_kernel("python3.lb.gpu")
    server.wait_state(third, "queued")
    with server.channel(third) as channel:
        cell = channel.execute("print('from the queue')")
        assert server.api.post(f"landbridge/kernels/{first}/cancel").status_code == 204
        assert channel.result(cell) == "from the queue"
    server.api.delete(f"api/kernels/{third}")


def test_a_job_that_its_scheduler_ended_is_explained_and_not_taken_again(server):
    kernel = server.start_kernel()
    with server.channel(kernel) as channel:
        pid = int(channel.run(LAUNCHER))
        job = server.view(kernel)["job_id"]
        os.kill(pid, signal.SIGTERM)
        channel.hear_state("dead", 20)
        view = server.wait_state(kernel, "dead")
        assert view["failure"]["title"]
        assert view["job_id"] == job
        model = server.model(kernel)
        assert model["execution_state"] == "dead"
        assert view["failure"]["title"] in model["reason"]
        until(lambda: server.records == [])  # the scheduler has told it, too
        time.sleep(1.5)  # some looks of a restarter
        assert server.records == []
        assert [k["id"] for k in server.api.get("api/kernels").json()] == [kernel]
        with server.channel(kernel) as other:
            other.hear_state("dead", 5)
            answer = server.api.post(f"api/kernels/{kernel}/restart")
            assert answer.status_code == 200
            assert answer.json()["execution_state"] == "starting"
            other.hear_state("starting", 5)
            new = other.run(JOB)
            assert new != job
        assert channel.run(JOB) == new
    assert server.view(kernel)["failure"] is None
    server.api.delete(f"api/kernels/{kernel}")


def test_a_kernel_that_dies_is_restarted_in_its_job(server):
    kernel = server.start_kernel()
    with server.channel(kernel) as channel:
        job = channel.run(JOB)
        channel.states.clear()
        channel.execute("import os; os.kill(os.getpid(), 9)")
        channel.hear_state("restarting", 15)
        # At once: it waits for the new kernel, and its output for this listener.
        assert channel.run(JOB) == job


def test_a_plain_client_waits_in_the_queue_on_one_websocket(server):
    first = server.start_kernel("python3.lb.all")
    server.wait_state(first, "running")
    made = server.api.post("api/kernels", json={"name": "python3.lb.gpu", "path": ""})
    assert made.status_code == 201
    kernel = made.json()["id"]
    with server.channel(kernel) as channel:
        cell = channel.execute("print(1 + 1)")
        # A start is not waited for so long.
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            assert server.model(kernel)["execution_state"] == "starting"
            time.sleep(1)
        server.api.delete(f"api/kernels/{first}")
        assert channel.result(cell) == "2"


def test_a_refused_start_is_dead_with_its_reason_and_can_go(server):
    kernel = str(uuid.uuid4())
    put = server.api.put(
        f"landbridge/kernels/choices/{kernel}", json={"partition": "nowhere"}
    )
    assert put.status_code == 200, put.text
    assert server.start_kernel("python3.lb.choose", kernel_id=kernel) == kernel
    view = server.wait_state(kernel, "dead")
    assert view["failure"]["title"]
    assert server.model(kernel)["reason"]
    with server.channel(kernel) as channel:
        channel.hear_state("dead", 5)
    assert server.api.delete(f"api/kernels/{kernel}").status_code == 204
    assert server.api.get("api/kernels").json() == []


def test_a_choice_is_checked_used_once_and_changes_with_a_new_kernel(server):
    options = server.api.get("landbridge/kernels/options").json()
    assert options["choices"]["gpus"] == {"min": 0, "max": 2}
    assert options["gpus"][0]["model"] == "a100"
    assert not {"partition", "account", "qos"} & set(options["choices"])
    assert options["defaults"]["profile"] == "custom"
    body = {"name": "python3.lb.choose", "path": "a.ipynb", "type": "notebook"}
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    put = server.api.put(
        f"landbridge/kernels/choices/{first}",
        json={"cpus": 2, "memory": "512 MB", "time_limit": "30min"},
    )
    assert put.json() == {"summary": "2 CPUs, 512 MB, 30 min"}
    session = server.api.post(
        "api/sessions",
        json={**body, "kernel": {"name": "python3.lb.choose", "id": first}},
    ).json()
    assert session["kernel"]["id"] == first
    server.wait_state(first, "running")
    assert server.view(first)["resources"]["cpus"] == 2
    server.api.put(f"landbridge/kernels/choices/{second}", json={"gpus": 2})
    server.start_kernel("python3.lb.choose", kernel_id=second)
    moved = server.api.patch(
        f"api/sessions/{session['id']}", json={"kernel": {"id": second}}
    ).json()
    assert (moved["id"], moved["kernel"]["id"]) == (session["id"], second)
    view = server.wait_state(second, "running")
    assert view["resources"]["gpus"] == 2
    assert server.api.get(f"landbridge/kernels/{first}").status_code == 404
    assert server.run(
        second, "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    ) == ("0,1")
    jobs = server.api.get("landbridge/jobs").json()["jobs"]
    entry = next(job for job in jobs if job["kind"] == "kernel")
    assert entry["title"] == "a.ipynb"
    assert entry["resources"].startswith("1 CPU, 256 MB, 2 GPUs")
    assert jobs[0]["kind"] == "server"
    assert server.api.post(f"landbridge/jobs/kernel/{second}/end").status_code == 204
    assert server.api.post(f"landbridge/jobs/kernel/{second}/end").status_code == 404
    server.api.delete(f"api/sessions/{session['id']}")


def test_the_time_limit_is_told_to_server_and_code_while_a_cell_runs(server):
    kernel = server.start_kernel()
    flag, client = (
        server.path / "saved",
        CHECKOUT / "extensions/client",
    )
    with server.channel(kernel) as channel:
        pid = int(channel.run(LAUNCHER))
        channel.run(
            f"import sys; sys.path.insert(0, {str(client)!r})\n"
            "from landbridge.jobs import on_time_limit\n"
            "@on_time_limit\n"
            f"def save(seconds): open({str(flag)!r}, 'w').write(str(seconds))"
        )
        channel.execute("import time; time.sleep(30)")
        assert server.view(kernel)["warned"] is None
        os.kill(pid, signal.SIGUSR1)
        until(flag.exists, 10, "the hook")
        until(lambda: server.view(kernel)["warned"], 10, "the warning")
    assert float(flag.read_text()) > 0


def test_the_gpus_use_is_told(new_server):
    server = new_server()
    program = server.path / "bin/nvidia-smi"
    program.write_text('#!/bin/sh\necho "0, 37, 1024, 40960"\n')
    program.chmod(0o755)
    server.extra["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    server.start()
    kernel = server.start_kernel("python3.lb.gpu")
    server.wait_state(kernel, "running")

    def told() -> list[dict[str, int]] | None:  # by a program that takes its time
        jobs = server.api.get("landbridge/jobs").json()["jobs"]
        return next(job for job in jobs if job["kind"] == "kernel")["gpu_use"]

    assert until(told, what="the GPU's use") == [
        {
            "index": 0,
            "utilization": 37,
            "memory_used": 1024 * 1024**2,
            "memory_total": 40960 * 1024**2,
        }
    ]


def test_nobody_without_the_token_gets_anything(server):
    with httpx.Client(base_url=server.url) as stranger:
        for path in ("kernels/options", f"kernels/{uuid.uuid4()}", "jobs"):
            assert stranger.get(f"landbridge/{path}").status_code == 403
        put = stranger.put(f"landbridge/kernels/choices/{uuid.uuid4()}", json={})
        assert put.status_code == 403
        assert stranger.post("landbridge/jobs/server/this/end").status_code == 403


def test_a_session_and_its_variables_survive_a_crash_of_the_server(new_server):
    server = new_server().start()
    session = server.api.post(
        "api/sessions",
        json={
            "path": "b.ipynb",
            "type": "notebook",
            "kernel": {"name": "python3.lb.cpu"},
        },
    ).json()
    kernel = session["kernel"]["id"]
    server.wait_state(kernel, "running")
    with server.channel(kernel) as channel:
        channel.run("x = 4711")
        job = channel.run(JOB)
        channel.states.clear()
        flag = server.path / "go"
        channel.execute(
            "import os, time\n"
            f"while not os.path.exists({str(flag)!r}): time.sleep(0.1)\n"
            "y = 1"
        )
        channel.hear_state("busy")
        server.kill()
    server.start()
    assert server.api.get("api/sessions").json()[0]["id"] == session["id"]
    server.wait_state(kernel, "running")
    assert server.model(kernel)["execution_state"] == "busy"
    flag.touch()
    with server.channel(kernel) as channel:
        assert channel.run("print(x + y)") == "4712"
        assert channel.run(JOB) == job
        assert server.api.post(f"api/kernels/{kernel}/restart").status_code == 200
        assert channel.run(JOB) == job
    assert server.records == [kernel]
    assert server.api.delete(f"api/sessions/{session['id']}").status_code == 204
    assert server.records == []


TALK = """
import os, time
print('before', flush=True)
while not os.path.exists({0!r}): time.sleep(0.02)
print('while away', flush=True)
open({0!r} + '.said', 'w').close()
"""


def test_what_a_cell_says_while_the_browser_is_away_is_told_later(server):
    kernel = server.start_kernel()
    flag = server.path / "browser"
    with server.channel(kernel) as channel:
        cell = channel.execute(TALK.format(str(flag)))
        while channel.hear()["msg_type"] != "stream":
            pass
    flag.touch()
    until(Path(f"{flag}.said").exists, 10, "the cell's end")
    with server.channel(kernel, channel.session) as again:
        assert again.result(cell) == "while away"


def test_what_a_cell_says_while_the_server_is_away_is_told_later(new_server):
    server = new_server().start()
    kernel = server.start_kernel()
    flag = server.path / "go"
    with server.channel(kernel) as channel:
        cell = channel.execute(TALK.format(str(flag)))
        while channel.hear()["msg_type"] != "stream":
            pass
        server.kill()
    flag.touch()
    until(Path(f"{flag}.said").exists, 10, "the cell's end")
    server.start()
    with server.channel(kernel, channel.session) as again:
        assert again.result(cell) == "while away"
        assert again.run("print(1)") == "1"
    with server.channel(kernel) as other:  # it is told once
        assert other.run("print(2)") == "2"
    server.api.delete(f"api/kernels/{kernel}")
