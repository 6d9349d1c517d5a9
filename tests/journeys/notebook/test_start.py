"""From a card to a cell that runs on a GPU node, and back."""

from __future__ import annotations

import pytest

from rigs.browser.browser import Browser
from rigs.hub.process import until

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

CELL = (
    "import os; print('GPU', os.environ['CUDA_VISIBLE_DEVICES'],"
    " 'JOB', os.environ['SLURM_JOB_ID'], 'UID', os.getuid())"
)


def test_a_cell_runs_in_alices_own_job_on_a_gpu(web: Browser, site) -> None:
    web.start("alice", "gpu")
    web.wait_path("/user/alice/lab", seconds=90)
    job = site.jobs("alice")
    assert len(job) == 1
    assert web.run_cell(CELL) == f"GPU 0 JOB {job[0]} UID 1001"

    web.open("/hub/home")
    running = web.find('article[data-server=""][data-state="ready"]')
    assert "1 GPU" in running.text
    assert f"Job\n{job[0]}" in running.text
    assert "Time left\n1 h" in running.text
    web.press(running, "Stop")
    web.find('article[data-server=""][data-state="stopped"]')
    until("the job has gone", lambda: not site.jobs("alice"))


def test_a_waiting_start_says_why_and_can_be_cancelled(web: Browser, site) -> None:
    site.fill("n4")
    web.start("alice", "small")
    web.wait_text("#now", "wait", "Wait", "queue")
    web.wait_text("#facts", "Place in line")
    assert len(site.jobs("alice")) == 1
    web.find("#cancel").click()
    web.wait_path("/hub/home")
    web.find('article[data-server=""][data-state="stopped"]')
    until("the job has gone", lambda: not site.jobs("alice"))


def test_a_double_click_is_one_job(web: Browser, site) -> None:
    site.fill("n4")
    web.open("/hub/spawn/alice")
    web.choose("small")
    web.run("const b = document.getElementById('start-button'); b.click(); b.click()")
    web.wait_path("/hub/spawn-pending/")
    web.wait_text("#facts", "Place in line")
    assert len(site.jobs("alice")) == 1


def test_the_form_sent_twice_is_one_job(web: Browser, site) -> None:
    site.fill("n4")
    web.open("/hub/spawn/alice")
    web.choose("small")
    web.run(
        "const form = document.getElementById('spawn_form');"
        "for (const turn of ['one', 'two']) { form.target = turn; form.submit() }"
    )
    until("the job is there", lambda: site.jobs("alice"))
    web.open("/hub/spawn/alice")
    web.wait_path("/hub/spawn-pending/")
    web.wait_text("#facts", "Place in line")
    assert len(site.jobs("alice")) == 1
