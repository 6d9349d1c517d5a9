"""One header, wherever one is: the hub's pages, services', and where is nothing."""

from __future__ import annotations

import httpx
import pytest

from rigs.browser.browser import PHONE, Browser

PAGES = {
    "/hub/home": ("Home", "Home"),
    "/hub/spawn/alice": ("Home", "Start a server"),
    "/hub/token": ("API tokens", "API tokens"),
    "/services/storage/": ("Storage", "Storage"),
    "/hub/nowhere": ("", "There is nothing at this address"),
    "/services/storage/nowhere": ("Storage", "There is nothing at this address"),
    "/services/storage/link/" + "x" * 40: (
        "Storage",
        "There is nothing at this address",
    ),
}
HEADER = """
const links = [...document.querySelectorAll(".lb-nav a")];
return {
  links: links.map(link => `${link.textContent} ${new URL(link.href).pathname}`),
  current: links.filter(link => link.ariaCurrent).map(link => link.textContent).join(),
  logo: document.querySelector(".lb-logo").textContent.trim(),
  name: document.querySelector(".lb-name").textContent,
  out: new URL(document.querySelector("#logout").href).pathname,
  title: document.title,
  height: document.querySelector(".lb-header").getBoundingClientRect().height,
  wide: Math.max(...[...document.querySelectorAll(".lb-header, .lb-who, #logout")]
    .map(part => part.getBoundingClientRect().right)) > window.innerWidth,
};
"""


def test_the_same_header_is_everywhere(web: Browser) -> None:
    seen = {}
    for path in PAGES:
        web.open(path)
        web.find(".lb-header")
        seen[path] = web.run(HEADER)
    links = [
        "Home /hub/home",
        "Storage /services/storage/",
        "API tokens /hub/token",
    ]
    name = seen["/hub/home"]["logo"]
    for path, (current, title) in PAGES.items():
        header = seen[path]
        assert header["links"] == links, path
        assert header["current"] == current, path
        assert header["title"] == f"{title} · {name}", path
        assert (header["name"], header["out"]) == ("alice", "/hub/logout"), path
        assert (header["logo"], header["height"]) == (name, seen["/hub/home"]["height"])
        assert not header["wide"], path


@pytest.mark.parametrize("path", ["/hub/home", "/services/storage/", "/hub/nowhere"])
def test_its_theme_switch_works_and_is_kept(web: Browser, path: str) -> None:
    theme = "return document.documentElement.dataset.bsTheme"
    web.open(path)
    web.theme("light")
    web.open(path)
    assert web.run(theme) == "light"
    web.find("#dark-theme-toggle").click()
    assert web.run(theme) == "dark"
    web.open("/services/storage/")
    assert web.run(theme) == "dark"
    web.theme("light")


def test_it_fits_a_phone(web: Browser) -> None:
    web.size(*PHONE)
    for path in PAGES:
        web.open(path)
        web.find("#logout")
        assert not web.run(HEADER)["wide"], path


def test_programs_get_json_where_is_nothing(web: Browser) -> None:
    for path in ("nowhere", "link/" + "x" * 40, "api/v1/nowhere"):
        answer = httpx.get(f"{web.home}/services/storage/{path}", trust_env=False)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not-found"


def test_signing_out_from_a_services_page(web: Browser) -> None:
    web.open("/services/storage/")
    web.find("#logout").click()
    web.wait_path("/hub/log")
    web.open("/services/storage/link/" + "x" * 40)
    assert web.text("#login") == "Sign in"
    assert not web.all(".lb-nav")
