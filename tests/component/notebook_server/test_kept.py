"""Kernels that their user keeps outlive their server."""

from __future__ import annotations

from datetime import datetime, timedelta

from rigs.notebooks.server import until_gone

LAUNCHER = "import os; print(os.getppid())"


def test_kernels_end_with_the_server_unless_they_are_kept(new_server):
    server = new_server().start()
    kept, other = server.start_kernel(), server.start_kernel()
    server.wait_state(kept, "running")
    server.wait_state(other, "running")
    server.run(kept, "x = 1")
    pid = int(server.run(other, LAUNCHER))
    assert server.view(kept)["keep"] is False
    answer = server.api.put(
        f"landbridge/kernels/{kept}/keep", json={"keep": True, "hours": 1}
    )
    until = datetime.fromisoformat(answer.json()["keep_until"])
    assert answer.json()["keep"] is True
    assert answer.json()["keep_hours"] == 72
    for wrong in ({"keep": True, "hours": 1000}, {"keep": True, "hours": 0}, {}):
        put = server.api.put(f"landbridge/kernels/{kept}/keep", json=wrong)
        assert put.status_code == 400, wrong
    server.stop()
    until_gone(pid)
    assert server.records == [kept]
    server.start()
    assert server.run(kept, "print(x)") == "1"
    assert server.view(kept)["keep"] is True
    later = datetime.fromisoformat(server.view(kept)["keep_until"]) - until
    assert later < timedelta(seconds=1)  # no more than was asked for
    server.api.delete(f"api/kernels/{kept}")


def test_a_kernel_that_is_kept_in_the_queue_is_kept_when_it_runs(new_server):
    """Its server ends, and so does the kernel that it waited for."""
    server = new_server().start()
    server.wait_state(server.start_kernel("python3.lb.all"), "running")
    kept = server.start_kernel("python3.lb.gpu")
    server.wait_state(kept, "queued")
    asked = {"keep": True, "hours": 1}
    answer = server.api.put(f"landbridge/kernels/{kept}/keep", json=asked)
    assert answer.json()["keep"] is True
    server.stop()
    assert server.records == [kept]
    server.start()
    server.wait_state(kept, "running")
    moments = [server.view(kept)["keep_until"], answer.json()["keep_until"]]
    until, chosen = map(datetime.fromisoformat, moments)
    assert abs(until - chosen) < timedelta(seconds=1)
    assert server.run(kept, "print('still here')") == "still here"
    server.api.delete(f"api/kernels/{kept}")
