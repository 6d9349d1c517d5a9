"""Starts that fail, and starts that are refused: in words, and to be read again."""

from __future__ import annotations

import pytest

from rigs.browser.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]


def test_an_environment_without_jupyterlab_is_explained(web: Browser, site) -> None:
    web.start("alice", "bare")
    told = web.wait_text("#failure", "Command not found", seconds=60)
    assert "is not installed in this environment (/usr)" in told
    assert "Is JupyterLab installed in this environment?" in told
    assert "Next step" in told
    log = web.wait_text("#log", "Submitted as job")

    web.driver.refresh()
    assert web.wait_text("#failure", "Command not found") == told
    assert web.wait_text("#log", "Submitted as job") == log

    server = site.hub.server("alice")
    assert server["state"] == "failed"
    assert server["failure"]["title"] == "Command not found"

    web.open("/hub/home")
    web.wait_text('article[data-state="failed"]', "Command not found")
    web.press(web.find("article"), "Start again")
    web.wait_path("/hub/spawn/alice")
    web.ready()
    assert not site.jobs("alice")


def test_a_job_over_its_memory_says_so(web: Browser, site) -> None:
    web.start("alice", "hungry")
    told = web.wait_text("#failure", "emory", seconds=90)
    assert "100 MB" in told
    assert "Next step" in told


def test_too_long_for_the_partition_is_refused_at_the_field(web: Browser, site) -> None:
    web.open("/hub/spawn/alice")
    web.choose("gpu")
    web.set_field("gpu-time_limit", "20h")
    told = web.wait_text("#field-problem", "gpu")
    assert "4 h" in told
    assert web.find("#gpu-time_limit").get_attribute("aria-invalid") == "true"
    assert not web.find("#start-button").is_enabled()
    assert "4 h" in web.text("#start-summary")

    # The page is not the guard: sent all the same, nothing is submitted.
    web.run("document.getElementById('spawn_form').submit()")
    assert "4 h" in web.text("#spawn-error")
    assert not site.jobs("alice")

    web.set_field("gpu-time_limit", "30min")
    web.wait_text("#start-summary", "Should start now")
    assert not web.all("[aria-invalid], #field-problem")
    assert web.find("#start-button").is_enabled()

    # What is asked for last is in her next form, also that of the next test.
    web.set_field("gpu-time_limit", "2h")
    web.wait_text("#start-summary", "Should start now")
    web.find("#start-button").click()
    web.wait_path("/hub/spawn-pending/alice", "/user/alice/lab")
