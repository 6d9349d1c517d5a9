"""Two people at once, and what one may not see of the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rigs.browser.browser import Browser
from rigs.hub.process import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]


@pytest.fixture
def bob(web: Browser) -> Iterator[Browser]:
    """Bob in a tab beside alice's: another host name has other cookies."""
    home = web.home
    web.driver.switch_to.new_window("tab")
    web.home = home.replace("127.0.0.1", "localhost")
    web.size(1280, 900)
    web.sign_in("bob", PASSWORD)
    yield web
    web.home = home


def test_two_users_work_at_once_and_stay_apart(bob: Browser, site) -> None:
    alices, bobs = bob.driver.window_handles
    home = bob.home
    bob.start("bob", "small")
    bob.driver.switch_to.window(alices)
    bob.home = home.replace("localhost", "127.0.0.1")
    bob.start("alice", "gpu")
    bob.wait_path("/user/alice/lab", seconds=90)
    bob.driver.switch_to.window(bobs)
    bob.home = home
    bob.wait_path("/user/bob/lab", seconds=90)
    assert len(site.jobs("alice")) == len(site.jobs("bob")) == 1

    bob.open("/user/alice/lab")
    assert "You may not open this" in bob.text("h1")
    assert "403" in bob.text()
    bob.open("/hub/spawn-pending/alice")
    assert "403" in bob.text() or "404" in bob.text()

    asked = (
        "const [path, method, done] = arguments;"
        "fetch(path, {method, headers: {'X-XSRFToken': jhdata.xsrf_token}})"
        ".then(answer => done(answer.status))"
    )
    bob.open("/hub/home")
    for method, path in (
        ("GET", "landbridge/servers/alice/progress"),
        ("GET", "landbridge/servers/alice"),
        ("GET", "users/alice"),
        ("DELETE", "users/alice/server"),
        ("POST", "users/alice/server"),
    ):
        status = bob.driver.execute_async_script(asked, f"/hub/api/{path}", method)
        assert status in (403, 404), (method, path, status)
    assert len(site.jobs("alice")) == 1
