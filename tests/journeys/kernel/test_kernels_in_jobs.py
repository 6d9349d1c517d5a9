"""Kernels as batch jobs, from JupyterLab's launcher on: one server, many kernels."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.browser.browser import Browser
from rigs.browser.lab_pages import Lab
from rigs.hub.process import until

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

WHERE = (
    "import os; print('GPU', os.environ.get('CUDA_VISIBLE_DEVICES'),"
    " 'JOB', os.environ['SLURM_JOB_ID'])"
)


def notebook_server(site: Any, user: str) -> int:
    """The process id of a user's notebook server on this site's Slurm."""
    uid = pwd.getpwnam(user).pw_uid
    mark = f"SLURM_CONF={site.slurm.environment['SLURM_CONF']}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            around = (entry / "environ").read_bytes()
            owner = entry.stat().st_uid
        except OSError:
            continue
        if b"notebook_server.py" in words and mark in around and owner == uid:
            return int(entry.name)
    raise AssertionError(f"{user} has no notebook server")


@pytest.fixture
def lab(web: Browser, site) -> Iterator[Lab]:
    """JupyterLab in a CPU job, at its launcher."""
    web.start("alice", "small")
    web.wait_path("/user/alice/lab", seconds=90)
    lab = Lab(web)
    lab.open_launcher()
    yield lab
    web.leave("/hub/home")


def test_a_kernel_on_a_gpu_is_interrupted_restarted_and_ended(lab: Lab, site) -> None:
    (server,) = site.jobs("alice")
    lab.new_notebook("1 GPU")
    first = lab.run(WHERE)
    (job,) = set(site.jobs("alice")) - {server}
    assert first == f"GPU 0 JOB {job}"

    sleeping = lab.send("import time; time.sleep(600)")
    lab.wait_kernel("busy")
    lab.press_tool("interrupt")
    assert "KeyboardInterrupt" in lab.output(sleeping)

    lab.press_tool("restart")
    lab.web.find(".jp-Dialog .jp-mod-warn").click()
    lab.wait_kernel("idle")
    assert lab.run("print('time' in globals())") == "False"
    assert lab.run(WHERE) == first  # in the same job

    lab.open_jobs()
    running = '.lb-Jobs-entry[data-kind="kernel"][data-state="running"]'
    entry = lab.web.find(running)
    assert f"job {job}" in entry.text
    assert "1 GPU" in entry.text
    lab.web.wait_text(running, "37 %")  # as nvidia-smi says
    assert f"job {server}" in lab.web.text('.lb-Jobs-entry[data-kind="server"]')
    lab.web.press(entry, "End")
    lab.web.find(".jp-Dialog .jp-mod-warn").click()
    until("only the server is left", lambda: site.jobs("alice") == [server])


def test_a_kernel_survives_a_crash_of_its_server_and_ends_when_idle(
    lab: Lab, site
) -> None:
    (server,) = site.jobs("alice")
    lab.new_notebook("1 GPU")
    first = lab.run(WHERE)
    (job,) = set(site.jobs("alice")) - {server}
    assert lab.run("x = 4711; print(x)") == "4711"
    talk = lab.send("import time; _ = [print(i) or time.sleep(.2) for i in range(9)]")
    until("it talks", lambda: "1" in lab.output(talk))
    os.kill(notebook_server(site, "alice"), signal.SIGKILL)
    until("it is back", lambda: site.hub.answers("alice"))
    assert set(site.jobs("alice")) == {server, job}  # in its old job
    until("its last words", lambda: lab.output(talk).endswith("7\n8"))
    until("it is shown as run", lambda: "*" not in lab.prompt(talk))
    assert lab.run("print(x)") == "4711"
    assert lab.run(WHERE) == first

    site.compute(0)
    told = lab.wait_strip("computed nothing for", seconds=60)
    assert "Keep it" in told
    told = lab.wait_strip("Ended because it was idle", seconds=60)
    assert "Start again" in told
    until("only the server is left", lambda: site.jobs("alice") == [server])


def test_a_kernel_that_is_kept_outlives_its_servers_job(lab: Lab, site) -> None:
    (server,) = site.jobs("alice")
    lab.new_notebook("1 GPU")
    first = lab.run(WHERE)
    (job,) = set(site.jobs("alice")) - {server}
    assert lab.run("x = 4711; print(x)") == "4711"
    lab.save()
    lab.open_jobs()
    entry = '.lb-Jobs-entry[data-kind="{}"][data-state="running"]'
    kernel = entry.format("kernel")
    lab.keep(kernel, "for 1 h")
    chosen = lab.kept(kernel, "until")
    lab.web.press(lab.web.find(entry.format("server")), "End")
    lab.web.find(".jp-Dialog .jp-mod-warn").click()
    until("only the kernel is left", lambda: site.jobs("alice") == [job])

    until("the hub knows", lambda: not site.hub.call("GET", "users/alice")["servers"])
    lab.web.leave("/hub/home")
    lab.web.start("alice", "small")
    lab.web.wait_path("/user/alice/lab", seconds=90)
    assert lab.run("print(x)") == "4711"  # the notebook is open, its kernel is found
    assert lab.run(WHERE) == first
    lab.kept(kernel, chosen)
    lab.keep(kernel, "while its server runs")
    lab.kept(kernel, "while")
    site.hub.stop_server("alice")
    until("nothing is left", lambda: site.jobs("alice") == [])


def test_a_notebook_moves_to_other_resources(lab: Lab, site) -> None:
    (server,) = site.jobs("alice")
    lab.new_notebook("choose resources")
    lab.fill(cpus="999")
    lab.web.wait_text(".lb-Choose-row[data-wrong=yes]", "Must be 1 to ")
    lab.choose(cpus="1", partition="short", time_limit="5", unit="m")
    first = lab.run(WHERE)
    (job,) = set(site.jobs("alice")) - {server}
    assert first == f"GPU None JOB {job}"

    # All GPUs of that model are taken: the old kernel works while the new one waits.
    blocker = site.fill("n3")
    lab.press_tool("landbridge-resources")
    lab.choose(gpu="=l40", gpus="2", partition="gpu")
    lab.wait_strip("in line")
    assert lab.run("print(2 + 2)") == "4"
    lab.press("cancel")
    lab.wait_no_strip()
    until("the new job has gone", lambda: set(site.jobs("alice")) == {server, job})

    lab.press_tool("landbridge-resources")
    lab.choose()  # what was chosen last is remembered
    lab.wait_strip("in line")
    lab.reload()
    lab.wait_strip("in line")  # it is still waited for
    site.slurm.admin("scancel", str(blocker))
    until("the old job has gone", lambda: job not in site.jobs("alice"))
    lab.wait_no_strip()
    (second,) = set(site.jobs("alice")) - {server}
    assert lab.run(WHERE) == f"GPU 0,1 JOB {second}"
    assert lab.output(0) == first  # the document is the same


def test_a_kernel_that_waits_is_cancelled_at_once(lab: Lab, site) -> None:
    (server,) = site.jobs("alice")
    site.fill("n3")
    lab.new_notebook("choose resources")
    lab.choose(gpu="=l40", partition="gpu")
    lab.wait_strip("in line")
    assert len(site.jobs("alice")) == 2
    lab.press("cancel")
    lab.web.wait_text(".jp-NotebookPanel-toolbar", "No Kernel")
    until("only the server is left", lambda: site.jobs("alice") == [server])


def test_the_end_of_a_kernels_job_is_explained(lab: Lab, site) -> None:
    (server,) = site.jobs("alice")
    lab.new_notebook("choose resources")
    lab.choose(cpus="1", partition="short", time_limit="1", unit="m")
    job = lab.run(WHERE).split()[-1]
    lab.wait_strip("ends in")  # warned before
    told = lab.wait_strip("Time limit reached", seconds=150)
    assert "Start again" in told
    lab.press("details")
    details = lab.web.text(".lb-Details")
    assert "Next step:" in details
    assert job in details
    lab.web.find(".jp-Dialog .jp-mod-accept").click()

    lab.press("again")
    again = until("a new job", lambda: set(site.jobs("alice")) - {server, job})
    assert lab.run(WHERE) == f"GPU None JOB {again.pop()}"
