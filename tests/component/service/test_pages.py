"""The shell around a service's pages, and what people see where there is no page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from rigs.services.frame import Served, served
from services.common.navigation import Entry, Navigation
from services.common.web.pages import ServicePage
from services.common.web.routes import ServiceSpec

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
NAVIGATION = Navigation(
    "Fjord & Lab",
    (
        Entry("storage", "Storage", "/services/storage/"),
        Entry("toy", "Toys", "/services/toy/"),
    ),
)


class ToyPage(ServicePage):
    """A page of the toy service."""

    bundle = "toy"
    title = "Toys"

    def connect(self) -> str:
        return "https://store.example.org"


@pytest.fixture
async def toy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Serve a service with a page whose panel was built."""
    static = tmp_path_factory.mktemp("s")
    (static / "toy.js").write_text("// the panel")
    spec = ServiceSpec("toy", "Toys", "Toys.", (), {})
    async with served(
        spec,
        None,
        tmp_path_factory.mktemp("t"),
        pages=[("", ToyPage, {})],
        navigation=NAVIGATION,
        static=static,
        hub="https://hub.example.org/hub/",
    ) as there:
        yield there


async def get(toy: Served, path: str, *, admin: bool = False) -> httpx.Response:
    toy.hub.add_user("alice").is_admin = admin
    async with toy.client() as client:
        return await client.get(f"http://toy{toy.prefix}{path}", headers=BROWSER)


async def test_a_page_has_the_header_of_the_gateway(toy: Served):
    answer = await get(toy, "")
    page = answer.text
    assert answer.status_code == 200
    assert "<title>Toys · Fjord &amp; Lab</title>" in page
    assert '<a href="https://hub.example.org/hub/home">Home</a>' in page
    assert '<a href="/services/storage/">Storage</a>' in page
    assert '<a href="/services/toy/" aria-current="page">Toys</a>' in page
    assert page.count("aria-current") == 1
    assert ">alice</span>" in page
    assert 'href="https://hub.example.org/hub/logout"' in page
    assert 'id="dark-theme-toggle"' in page
    assert "Admin" not in page
    assert ">Admin</a>" in (await get(toy, "", admin=True)).text


async def test_a_page_shows_its_bundle_under_a_policy_of_its_own(toy: Served):
    answer = await get(toy, "")
    policy = answer.headers["Content-Security-Policy"]
    nonces = set(re.findall(r'<script nonce="([^"]+)"', answer.text))
    assert nonces == set(re.findall(r"'nonce-([^']+)'", policy))
    assert len(nonces) == 1
    assert re.search(r'src="/services/toy/static/toy\.js\?v=[0-9a-f]+"', answer.text)
    assert "connect-src 'self' https://store.example.org;" in policy
    assert "style-src 'self' 'unsafe-inline' https://hub.example.org;" in policy
    assert re.search(r'id="toy".* data-xsrf="[^"]+"', answer.text)
    assert nonces.isdisjoint(
        re.findall(r'<script nonce="([^"]+)"', (await get(toy, "")).text)
    )


async def test_a_page_that_was_not_built_says_so(toy: Served):
    assert toy.serving.static is not None
    (Path(toy.serving.static) / "toy.js").unlink()
    page = (await get(toy, "")).text
    assert "The panel was not built" in page
    assert 'type="module"' not in page


async def test_a_browser_sees_a_page_where_there_is_none(toy: Served):
    answer = await get(toy, "nowhere")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "There is nothing at this address" in answer.text
    assert ">alice</span>" in answer.text
    assert "'nonce-" in answer.headers["Content-Security-Policy"]


async def test_a_stranger_sees_it_too_and_is_shown_where_to_sign_in(toy: Served):
    async with toy.client() as client:
        del client.headers["Authorization"]
        url = f"http://toy{toy.prefix}<nowhere>"
        answer = await client.get(url, headers=BROWSER)
    assert answer.status_code == 404
    assert '<a id="login" class="lb-sign" href="/services/toy/">Sign in</a>' in (
        answer.text
    )
    assert "<nav" not in answer.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html;q=0", ""])
async def test_a_program_gets_json_where_there_is_nothing(toy: Served, accept: str):
    async with toy.client() as client:
        url = f"http://toy{toy.prefix}nowhere"
        answer = await client.get(url, headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not-found"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_the_navigation_travels_in_one_variable():
    assert Navigation.of(NAVIGATION.to_environment()) == NAVIGATION
    assert Navigation.of({}).gateway == "Landbridge"
