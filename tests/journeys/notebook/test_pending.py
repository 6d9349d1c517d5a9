"""The page of a start that waits: reloads, second tabs, a hub that dies."""

from __future__ import annotations

import pytest

from rigs.browser.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]


def test_the_log_is_the_same_in_every_tab_and_outlives_the_hub(
    web: Browser, site
) -> None:
    blocker = site.fill("n4")
    web.start("alice", "small")
    web.wait_text("#facts", "Place in line")
    log = web.text("#log")
    assert "Submitted as job" in log

    web.driver.refresh()
    web.wait_text("#facts", "Place in line")
    assert web.text("#log") == log

    first = web.in_new_tab("/hub/spawn-pending/alice")
    web.wait_text("#facts", "Place in line")
    assert web.text("#log") == log
    web.driver.close()
    web.driver.switch_to.window(first)

    site.hub.kill()
    web.wait_text("#now", "does not answer just now")
    site.hub.start()
    web.until(
        "the page is told of the queue again",
        lambda: "does not answer" not in web.text("#now"),
        60,
    )
    job = site.jobs("alice")
    site.slurm.admin("scancel", str(blocker))
    web.wait_path("/user/alice/lab", seconds=90)
    assert site.jobs("alice") == job
