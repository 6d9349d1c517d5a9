"""Users and services at hosts of their own: in a browser all works and stays apart."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from rigs.browser.apart import DOMAIN, STORAGE, Apart, apart, leave_everything
from rigs.browser.attacks import ATTACKS, got, hostile
from rigs.browser.browser import PROGRAMS, Browser, chromium
from rigs.browser.storage_page import DIALOG, StoragePage
from rigs.hub.process import PASSWORD, until
from rigs.slurm.cluster import Cluster

pytestmark = [pytest.mark.browser, pytest.mark.slurm, pytest.mark.root]


@pytest.fixture(
    scope="module", params=[pytest.param("http", marks=pytest.mark.long), "https"]
)
def gateway(
    request: pytest.FixtureRequest, slurm_rig: Cluster, people: object
) -> Iterator[Apart]:
    slurm_rig.repair()
    with apart(slurm_rig, request.param) as running:
        yield running


@pytest.fixture(scope="module")
def running_web(
    gateway: Apart, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: chromium chromium-driver)")
    flags = ("--ignore-certificate-errors",) if gateway.scheme == "https" else ()
    directory = tmp_path_factory.mktemp("browser")
    with chromium(directory, gateway.home, *flags) as browser:
        yield browser


@pytest.fixture
def web(gateway: Apart, running_web: Browser) -> Iterator[Browser]:
    """A browser in which alice is signed in."""
    leave_everything(running_web)
    running_web.sign_in("alice", PASSWORD)
    yield running_web
    leave_everything(running_web)
    for user in ("alice", "bob"):
        gateway.hub.stop_server(user)
        gateway.hub.wait_state(user, "stopped", "failed", "none")


def address(web: Browser) -> str:
    return web.driver.current_url


def wait_address(web: Browser, start: str, seconds: float = 60) -> None:
    web.until(
        f"an address {start}; it is {address(web)}",
        lambda: address(web).startswith(start),
        seconds,
    )


def test_a_person_works_at_hosts_of_her_own(
    gateway: Apart, web: Browser, tmp_path: Path
) -> None:
    web.start("alice", "small")
    wait_address(web, f"{gateway.of('alice')}/user/alice/lab", 120)
    assert web.run_cell("print(6 * 7)") == "42"

    # The panel in JupyterLab: by a relay, with bytes straight to this host's /s3/.
    web.find('.jp-SideBar [data-id="landbridge-storage"]').click()
    panel = StoragePage(web, "#landbridge-storage")
    panel.go_to_bucket("alice")
    text = tmp_path / "from-lab.txt"
    text.write_text("sent from JupyterLab\n")
    panel.give("files", text)
    panel.wait_rows("from-lab.txt")
    panel.choose("from-lab.txt")
    panel.press("Preview")
    frame = web.find("iframe.lb-Preview-frame")
    assert (frame.get_attribute("src") or "").startswith(gateway.at(STORAGE))
    web.driver.switch_to.frame(frame)
    web.wait_text("body", "sent from JupyterLab")
    web.driver.switch_to.default_content()
    panel.press("Public link")
    panel.answer("Make link")
    link = web.find(f"{DIALOG} [name=link]").get_attribute("value") or ""
    assert link.startswith(f"{gateway.at(STORAGE)}/services/storage/link/")

    # The storage page: found from the hub, at a host of its own.
    web.open("/hub/home")
    web.find('.lb-nav a[href*="storage"]').click()
    wait_address(web, f"{gateway.at(STORAGE)}/services/storage/")
    page = StoragePage(web)
    page.wait_rows("from-lab.txt")
    text = tmp_path / "from-page.txt"
    text.write_text("sent from the page\n")
    page.give("files", text)
    page.wait_rows("from-page.txt")
    assert gateway.ask(link) == "sent from JupyterLab\n"
    assert web.run("return getComputedStyle(document.body).fontFamily") != "serif"
    assert not [line for line in web.driver.get_log("browser") if "CSP" in str(line)]
    web.find('a[href$="/hub/home"]:not(.lb-logo)').click()
    wait_address(web, f"{gateway.home}/hub/home")

    # Signing out at the hub holds at each of these hosts.
    web.open("/hub/logout")
    for there in (
        f"{gateway.of('alice')}/user/alice/lab",
        f"{gateway.at(STORAGE)}/services/storage/",
    ):

        def signed_out(there: str = there) -> bool:
            web.driver.get(there)
            return address(web).startswith(f"{gateway.home}/hub/login")

        until("alice is signed out everywhere", signed_out, seconds=40)


def test_addresses_of_one_host_lead_on_and_others_say_so(
    gateway: Apart, web: Browser
) -> None:
    web.open("/services/storage/")
    wait_address(web, f"{gateway.at(STORAGE)}/services/storage/")
    web.driver.get(f"{gateway.of('alice')}/user/alice/lab")
    wait_address(web, f"{gateway.home}/hub/user/alice/lab")
    assert "Start it" in web.text()
    web.driver.get(f"{gateway.of('nobody')}/")
    assert "There is nothing at this address" in web.text("h1")
    web.driver.get(f"{gateway.of('alice')}/hub/home")
    wait_address(web, f"{gateway.home}/hub/home")


@pytest.fixture
def bobs(web: Browser) -> dict[str, str]:
    """The cookies of a browser in which bob is signed in; alice is, afterwards."""
    leave_everything(web)
    web.sign_in("bob", PASSWORD)
    found = web.driver.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
    leave_everything(web)
    web.sign_in("alice", PASSWORD)
    return {one["name"]: one["value"] for one in found}


@pytest.fixture
def visiting(gateway: Apart, web: Browser) -> Iterator[Browser]:
    """Alice, who has a server and the storage page open, opens a page of bob's."""
    with hostile("bob"):
        gateway.start("bob")
        gateway.start("alice")
        gateway.hub.call("POST", "shares/bob/", {"user": "alice"})
        open_all(web, gateway)
        visit(web, gateway)
        yield web


def open_all(web: Browser, gateway: Apart) -> None:
    """Open what is hers, signed in as she is."""
    web.driver.get(f"{gateway.of('alice')}/user/alice/lab?reset")
    web.find(".jp-LauncherCard", 120)
    web.open("/services/storage/")
    web.find("#storage .lb-Storage-bucket")


def visit(web: Browser, gateway: Apart, path: str = "page") -> None:
    """Open a page of bob's server, whatever the gateway asks before."""
    web.driver.get(f"{gateway.of('bob')}/user/bob/hostile/{path}")
    if address(web).startswith(f"{gateway.home}/hub/visit"):
        web.find("form button[type=submit]").click()
    wait_address(web, f"{gateway.of('bob')}/user/bob/hostile/{path.split('?')[0]}")


def alices(gateway: Apart) -> tuple[object, ...]:
    """What there is of hers: tokens that somebody asked for, servers, buckets."""
    tokens = gateway.hub.call("GET", "users/alice/tokens")["api_tokens"]
    servers = gateway.hub.call("GET", "users/alice")["servers"]
    notes = [token["note"] for token in tokens if "OAuth" not in (token["note"] or "")]
    return (sorted(map(str, notes)), sorted(servers))


def still_alice(web: Browser, gateway: Apart) -> None:
    """She is signed in everywhere, and nothing is between her and the gateway."""
    web.open("/hub/home")
    assert web.run("return window.jhdata && jhdata.user") == "alice"
    assert web.run("return navigator.serviceWorker.controller") is None
    assert "worker of another" not in web.driver.title
    open_all(web, gateway)


def test_a_page_of_anothers_server_gets_nothing(
    gateway: Apart, visiting: Browser
) -> None:
    web, before = visiting, alices(gateway)
    where = (gateway.home, gateway.of("alice"), gateway.at(STORAGE), "alice")
    web.driver.set_script_timeout(90)
    tried = web.driver.execute_async_script(ATTACKS, *where)
    # What is its own it gets: the attacks work.
    assert set(got(tried)) >= {"own page", "own frame"}, tried
    own = {what for what in tried if what.startswith("own")}
    assert got(tried).keys() <= own, tried
    assert len(tried) == 16 + len(own)
    assert alices(gateway) == before
    visit(web, gateway, "cookies")
    assert "hub-login" not in web.text()
    still_alice(web, gateway)


@pytest.mark.parametrize("gateway", ["https"], indirect=True)
def test_a_page_cannot_make_its_visitor_somebody_else(
    gateway: Apart, bobs: dict[str, str], visiting: Browser
) -> None:
    """Cookies for all hosts below the hub's: the hub honours none of them."""
    web = visiting
    assert any("hub-login" in name for name in bobs)
    for path in ("/", "/hub/", "/hub/home", "/user/alice/", "/services/storage/"):
        for name, value in bobs.items():
            for each in {name, name.removeprefix("__Host-")}:
                cookie = f"{each}={value}; Domain={DOMAIN}; Path={path}; Secure"
                web.run("document.cookie = arguments[0]", cookie)
    still_alice(web, gateway)
    planted = [("cookie", f"{name}={value}") for name, value in bobs.items()]
    visit(web, gateway, f"page?{urlencode([('domain', DOMAIN), *planted])}")
    still_alice(web, gateway)
