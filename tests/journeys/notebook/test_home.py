"""The list of servers: named ones, and the time that is left."""

from __future__ import annotations

import pytest

from rigs.browser.browser import Browser
from rigs.hub.process import until

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]


def test_a_named_server_is_made_used_stopped_and_removed(web: Browser, site) -> None:
    web.open("/hub/home")
    web.ready()
    web.find("#new-name").send_keys("Big One")
    web.press(web.find("#named-form"), "Choose its resources…")
    assert web.path == "/hub/home"  # the browser itself refuses such a name
    web.set_field("new-name", "big-one")
    web.press(web.find("#named-form"), "Choose its resources…")
    web.wait_path("/hub/spawn/alice/big-one")
    assert "big-one" in web.text("h1")
    web.choose("short")
    web.find("#start-button").click()
    web.wait_path("/user/alice/big-one/lab", seconds=90)
    assert len(site.jobs("alice")) == 1

    # Its time is short: the top bar tells, and a warning is there at once.
    web.wait_text("#landbridge-time-left", "Time left: ")
    web.wait_text(".Toastify__toast-body", "job ends in", seconds=60)

    web.open("/hub/home")
    running = web.find('article[data-server="big-one"][data-state="ready"]')
    assert "less than 15 minutes" in running.text
    web.press(running, "Stop")
    stopped = web.find('article[data-server="big-one"][data-state="stopped"]')
    until("its job has gone", lambda: not site.jobs("alice"))
    web.press(stopped, "Remove")
    web.until(
        "it is no longer listed", lambda: not web.all('article[data-server="big-one"]')
    )
