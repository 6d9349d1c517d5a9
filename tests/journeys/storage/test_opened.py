"""Objects that are pages with programs, opened as pages of the gateway's own host."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs.browser.browser import Browser
from rigs.browser.stored import Stored

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]

# Tells that it ran by the title, and who can be read by asking with what it has read.
SCRIPT = """
document.title = "it ran";
let read = "none";
try { read = document.cookie; } catch (error) { read = error.name; }
new Image().src = "/hub/stolen?" + encodeURIComponent(read);
fetch("/hub/api/user").then(() => { document.title = "it asked"; }, () => 0);
"""
PAGES = {
    "evil.html": (
        "text/html",
        "<!doctype html><title>quiet</title><p>Words.</p>"
        f"<script>{SCRIPT}</script><img src=x onerror='document.title=\"it ran\"'>"
        '<meta http-equiv="refresh" content="0;url=/hub/stolen">',
    ),
    "evil.xhtml": (
        "application/xhtml+xml",
        '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>quiet</title></head>'
        f"<body><p>Words.</p><script><![CDATA[{SCRIPT}]]></script></body></html>",
    ),
    "evil.svg": (
        "image/svg+xml",
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 90">'
        "<title>quiet</title><text y='20'>Words.</text>"
        f"<script><![CDATA[{SCRIPT}]]></script></svg>",
    ),
}


def blocked(web: Browser) -> list[str]:
    """What the browser says it did not let a page do, since this was asked last."""
    said = [one["message"] for one in web.driver.get_log("browser")]
    return [line for line in said if "Blocked script execution" in line]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_from_a_bucket_does_nothing(
    web: Browser, stored: Stored, tmp_path: Path, name: str
) -> None:
    kind, text = PAGES[name]
    control = tmp_path / name
    control.write_text(text.replace("http-equiv", "data-not"))  # stay there
    web.driver.get(control.as_uri())
    # It acts where nothing holds it: what is seen below is not a page that is broken.
    web.until("the page acts", lambda: web.driver.title == "it ran", 10)

    web.open("/hub/home")
    web.run("document.cookie = 'canary=bird; path=/'")
    assert "canary=" in web.run("return document.cookie")  # there is something to read
    stored.put({name: text.encode()})
    blocked(web)
    url = stored.opened(name, kind)
    web.driver.get(url)
    assert web.run("return document.contentType") == kind  # as whoever signed wished
    assert web.run("return document.documentElement.textContent").count("Words.") == 1
    web.until("the browser has stopped its program", lambda: blocked(web), 10)
    assert web.driver.title == "quiet"
    assert web.driver.current_url == url
    assert web.run("return window.origin") == "null"
    cookie = "try { return document.cookie } catch (error) { return error.name }"
    assert web.run(cookie) == "SecurityError"
    asked = "return performance.getEntriesByType('resource').map(one => one.name)"
    assert not [one for one in web.run(asked) if "/hub/" in one]
    web.open("/hub/home")
    web.find("#servers")  # still signed in, on a page that acts as before
