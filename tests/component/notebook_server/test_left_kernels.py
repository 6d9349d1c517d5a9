"""Kernels that an earlier server left, while the jobs service does not tell of them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from rigs.notebooks.server import NotebookServer, until, until_gone

JOB = "import os; print(os.environ['LANDBRIDGE_JOB_ID'])"
LAUNCHER = "import os; print(os.getppid())"


def open_session(server: NotebookServer, name: str, kernel: str = "python3.lb.cpu"):
    body = {"path": name, "type": "notebook", "kernel": {"name": kernel}}
    answer = server.api.post("api/sessions", json=body)
    assert answer.status_code == 201, answer.text
    session = answer.json()
    if kernel != "python3":
        server.wait_state(session["kernel"]["id"], "running")
    return session["id"], session["kernel"]["id"]


def sessions(server: NotebookServer) -> list[str]:
    return [session["id"] for session in server.api.get("api/sessions").json()]


def signal_service(server: NotebookServer, number: signal.Signals) -> None:
    pid = server.own.pid
    assert pid is not None
    os.kill(pid, number)


@pytest.fixture
def silent(new_server):
    """A server to be started, whose jobs service hangs until it gets a SIGCONT."""
    server = new_server().start()
    try:
        yield server
    finally:
        signal_service(server, signal.SIGCONT)


def test_a_server_starts_without_the_jobs_service_and_keeps_what_it_has(silent):
    server = silent
    session, kernel = open_session(server, "a.ipynb")
    with server.channel(kernel) as channel:
        channel.run("x = 4711")
        job = channel.run(JOB)
    server.kill()
    signal_service(server, signal.SIGSTOP)
    server.start()
    assert sessions(server) == [session]
    view = server.view(kernel)
    assert view["state"] == "starting"
    assert "jobs service" in view["message"]
    model = server.model(kernel)
    assert (model["name"], model["execution_state"]) == ("python3.lb.cpu", "starting")
    for action in ("restart", "interrupt"):
        answer = server.api.post(f"api/kernels/{kernel}/{action}")
        assert answer.status_code == 409, answer.text
    # Nobody could say that it would end.
    assert server.api.delete(f"api/sessions/{session}").status_code == 503
    with server.channel(kernel) as channel:
        channel.hear_state("starting", 5)
        cell = channel.execute("print(x)")
        assert sessions(server) == [session]
        signal_service(server, signal.SIGCONT)
        assert channel.result(cell) == "4711"
        assert channel.run(JOB) == job
    assert server.view(kernel)["state"] == "running"
    assert server.records == [kernel]
    assert server.api.delete(f"api/sessions/{session}").status_code == 204
    assert server.records == []


def test_a_kernel_that_ended_meanwhile_is_told(silent):
    server = silent
    session, kernel = open_session(server, "a.ipynb")
    launcher = int(server.run(kernel, LAUNCHER))
    server.kill()
    signal_service(server, signal.SIGSTOP)
    os.kill(launcher, signal.SIGTERM)
    until_gone(launcher)
    server.start()
    assert server.view(kernel)["state"] == "starting"
    signal_service(server, signal.SIGCONT)
    view = server.wait_state(kernel, "dead")
    assert view["failure"]["title"]
    assert sessions(server) == [session]
    until(lambda: server.records == [], 10, "the end of the record")
    assert server.api.delete(f"api/sessions/{session}").status_code == 204
    assert sessions(server) == []


def test_a_server_that_ends_before_it_knows_ends_no_kernel(silent):
    server = silent
    session, kernel = open_session(server, "a.ipynb")
    server.run(kernel, "x = 1")
    server.kill()
    signal_service(server, signal.SIGSTOP)
    server.start()
    server.stop()
    signal_service(server, signal.SIGCONT)
    server.start()
    assert sessions(server) == [session]
    server.wait_state(kernel, "running")
    assert server.run(kernel, "print(x)") == "1"


def test_what_nobody_has_any_more_goes_from_the_list(new_server):
    """A kernel beside the server, and one that the jobs service never heard of."""
    server = new_server().start()
    open_session(server, "a.ipynb", "python3")
    open_session(server, "b.ipynb")
    server.kill()
    (record,) = server.own.records
    server.end_job(record)
    server.own.end()
    for path in server.own.directory.glob("*.sqlite*"):
        path.unlink()
    server.start()
    until(lambda: sessions(server) == [], 30, "the end of both sessions")
    assert server.api.get("api/kernels").json() == []
    assert not list((server.path / "state/kernels").glob("*.lock"))


def test_a_kernel_whose_node_is_silent_is_ended_for_good(new_server):
    """Its job is not left to its lease by a server that has not had it again."""
    server = new_server().start()
    session, kernel = open_session(server, "a.ipynb")
    launcher = int(server.run(kernel, LAUNCHER))
    server.kill()
    os.kill(launcher, signal.SIGSTOP)
    server.start()
    server.wait_state(kernel, "starting")
    assert server.api.delete(f"api/sessions/{session}").status_code == 204
    assert sessions(server) == []
    until(lambda: server.records == [], 10, "the end of the record")
    with suppress(ProcessLookupError):  # its job may have ended it already
        os.kill(launcher, signal.SIGCONT)
    until_gone(launcher)
