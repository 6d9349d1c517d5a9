"""What a hostile server of bob's can do to alice, who is signed in. No subdomains."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rigs.browser.browser import PROGRAMS, Browser, chromium
from rigs.browser.hostile_server import HostileServer, hostile_server
from rigs.hub.process import PASSWORD, HubProcess, until
from services.edge.config import runtime_path
from services.edge.maps import key_of
from services.edge.runtime import RuntimeSocket

pytestmark = pytest.mark.browser

# In the page of whoever's server it is: everything that could reach the hub.
ATTACKS = """
const done = arguments[arguments.length - 1];
const read = async (...how) => {
  try { return await (await fetch(...how)).text(); }
  catch (error) { return String(error); }
};
(async () => {
  const got = [];
  for (const mode of ['cors', 'no-cors', 'same-origin'])
    for (const path of ['/hub/home', '/hub/token', '/hub/api/user', '/hub/nowhere',
        '/user/alice/api', 'away?/hub/home', 'away?/hub/api/user'])
      got.push(await read(path, {mode, referrer: '/hub/home', credentials: 'include'}));
  got.push(await read('/hub/home', {mode: 'same-origin', cache: 'only-if-cached'}));
  got.push(await read('/hub/home', {mode: 'same-origin', cache: 'force-cache'}));
  for (const path of ['/hub/api/users/alice/tokens', '/hub/token', '/hub/spawn'])
    got.push(await read(path, {method: 'POST', body: '{}', referrer: '/hub/token',
      headers: {'Content-Type': 'application/json', 'Authorization': 'token x'}}));
  const frames = [];
  for (const path of ['/hub/home', '/hub/token', '/services/storage/',
      '/hub/api/user']) {
    const frame = document.createElement('iframe');
    frame.src = path;
    document.body.append(frame);
    await new Promise(next => { frame.onload = next; setTimeout(next, 3000); });
    try { frames.push(frame.contentDocument.documentElement.outerHTML); }
    catch (error) { frames.push(String(error)); }
  }
  history.pushState(null, '', '/hub/home');
  got.push(await read('/hub/home'));
  const cookies = document.cookie;
  done({got, frames, cookies});
})();
"""
POST = """
const form = document.createElement('form');
form.method = 'POST'; form.action = arguments[0]; form.target = arguments[1];
form.enctype = 'text/plain';
const field = document.createElement('input');
field.name = '{"note":"evil","x":"'; field.value = '"}';
form.append(field); document.body.append(form); form.submit();
"""
POPUP = """
const [path, done] = arguments;
const popup = window.open(path, 'popup');
setTimeout(() => {
  let seen = 'no';
  try { seen = popup.document.documentElement.outerHTML; } catch { }
  done(seen);
}, 3000);
"""
REGISTER = """
const [scope, done] = arguments;
navigator.serviceWorker.register('sw.js', {scope})
  .then(() => done('registered'), error => done(String(error)));
"""
WORKERS = """
const done = arguments[0];
navigator.serviceWorker.getRegistrations().then(all => done(all.map(one => one.scope)));
"""


@dataclass(frozen=True)
class Field:
    """The gateway, the browser, and the server that stands for bob's and alice's."""

    hub: HubProcess
    web: Browser
    evil: HostileServer
    first: str

    def tokens(self, name: str) -> int:
        return len(self.hub.call("GET", f"users/{name}/tokens")["api_tokens"])

    def ask(self, script: str, *arguments: Any) -> Any:
        return self.web.driver.execute_async_script(script, *arguments)

    def reached(self) -> list[str]:
        """What was asked of the server since the last look."""
        asked = [path for path, _ in self.evil.asked]
        self.evil.asked.clear()
        return asked

    def lead(self, name: str) -> None:
        """Have the edge take the server for this user's notebook server."""
        runtime = RuntimeSocket(str(runtime_path(self.hub.state / "haproxy")))
        value = f"127.0.0.1|{self.evil.port}|-|{name}"
        key = key_of(f"/user/{name}/")
        asyncio.run(runtime.add_entry("routes.map", key, value))


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: chromium chromium-driver)")
    directory = Path(tempfile.mkdtemp(prefix="lbevil-", dir="/var/tmp"))
    directory.chmod(0o755)
    hub = HubProcess(directory / "state")
    home = f"http://127.0.0.1:{hub.port}"
    try:
        with chromium(directory, home) as web, hostile_server() as evil:
            first = _worker_of_before(hub.port, web)
            hub.start()
            for name in ("alice", "bob"):
                hub.add_user(name)
            hub.start_server("bob")
            hub.wait_state("bob", "ready")
            field = Field(hub, web, evil, first)
            field.lead("bob")
            field.lead("alice")
            yield field
    finally:
        hub.close()
        shutil.rmtree(directory)


def _worker_of_before(port: int, web: Browser) -> str:
    """Leave what an earlier release let bob's server leave: a worker for all paths."""
    with hostile_server(port):
        web.open("/user/bob/")
        web.driver.execute_async_script(REGISTER, "/")
        web.driver.execute_async_script(REGISTER, "/user/bob/")
        web.until(
            "the worker answers for the hub",
            lambda: (web.open("/hub/home"), "worker of bob" in web.text())[1],
        )
        return web.text()


@pytest.fixture
def alice(field: Field) -> Field:
    web = field.web
    web.close_others()
    # Who is signed in keeps the workers of her own server.
    web.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    end_workers(field)
    web.sign_in("alice", PASSWORD)
    field.evil.asked.clear()
    return field


@pytest.fixture
def visiting(alice: Field) -> Field:
    """Bob has shared his server, and alice has said that she trusts him."""
    share(alice)
    alice.web.open("/user/bob/page")
    alice.web.find("#visit-open").click()
    alice.web.wait_text("h1", "page of bob")
    return alice


def share(field: Field) -> None:
    field.hub.call("POST", "shares/bob/", {"user": "alice"})


def secrets_in(found: dict[str, Any]) -> list[str]:
    texts = [*found["got"], *found["frames"], found["cookies"]]
    words = ("jhdata", "xsrf_token", "_xsrf=", '"name": "alice"', "My servers")
    return [text[:300] for text in texts if any(word in text for word in words)]


def end_workers(field: Field) -> None:
    """Open the sign-in page twice and stay a moment, as anybody would."""
    # The browser looks for a new worker when a page was opened and all is quiet.
    field.web.open("/hub/login")
    field.web.until(
        "the worker of all paths has ended",
        lambda: f"{field.web.home}/" not in field.ask(WORKERS),
    )
    # The one below bob's path is ended by the hub's own page.
    field.web.open("/hub/login")
    field.web.until("no worker is left", lambda: not field.ask(WORKERS))


def test_a_worker_from_before_is_ended(field: Field) -> None:
    assert "worker of bob" in field.first
    end_workers(field)
    field.web.open("/hub/login")
    assert "Sign in" in field.web.text()


def test_nobody_sees_a_strangers_page(field: Field, alice: Field) -> None:
    web = alice.web
    for path in ("/user/bob/", "/user/%62ob/x?token=abc", "/user/bob/sw.js"):
        web.open(path)
        assert web.text("h1") == "You may not open this"
        assert "bob, who has not shared it with you" in web.text()
    web.driver.delete_all_cookies()
    web.open("/user/bob/")
    assert web.path.startswith("/hub/login")
    assert alice.reached() == []


def test_ones_own_server_opens_without_a_question(alice: Field) -> None:
    alice.web.open("/user/alice/lab?x=1")
    assert alice.web.text("h1") == "page of bob"
    assert alice.web.path == "/user/alice/lab?x=1"
    assert alice.reached()[0] == "/user/alice/lab?x=1"


def test_a_shared_server_opens_after_a_question_and_until_it_is_not_shared(
    alice: Field,
) -> None:
    web = alice.web
    share(alice)
    web.open("/user/bob/page?a=b")
    assert "Open a server of bob?" in web.text("h1")
    assert alice.reached() == []
    web.find("#visit-open").click()
    web.wait_text("h1", "page of bob")
    assert web.path == "/user/bob/page?a=b"
    # The server is not told by which session the gateway knows her.
    web.open("/hub/home")
    mine = web.driver.get_cookie("jupyterhub-session-id")["value"]
    assert alice.evil.asked
    assert all(mine not in cookies for _, cookies in alice.evil.asked)
    assert "evil" not in {one["name"] for one in web.driver.get_cookies()}
    alice.hub.call("DELETE", "shares/bob/")

    def shut() -> bool:
        alice.evil.asked.clear()
        web.open("/user/bob/page")
        return "not shared" in web.text() and not alice.evil.asked

    until("the visit has ended", shut, seconds=30, every=1)


@pytest.mark.parametrize("owner", ["alice", "bob"])
def test_a_page_reads_nothing_of_the_hubs(visiting: Field, owner: str) -> None:
    """Bob's after she has agreed, and her own, in which somebody else's script runs."""
    visiting.web.open(f"/user/{owner}/page")
    found = visiting.ask(ATTACKS)
    if owner == "alice":
        # Of her own server she may of course read.
        found["got"] = [text for text in found["got"] if "page of bob" not in text]
    assert secrets_in(found) == []
    for path in ("/hub/home", "/hub/token", "/hub/api/user", "/services/storage/"):
        visiting.web.open(f"/user/{owner}/page")
        seen = visiting.ask(POPUP, path)
        assert not any(word in seen for word in ("jhdata", "alice", "xsrf")), seen[:500]
        visiting.web.close_others()


def test_a_visited_page_reads_nothing_of_another_server(visiting: Field) -> None:
    visiting.web.open("/user/bob/page")
    script = (
        "const [path, done] = arguments;"
        "fetch(path, {mode: 'same-origin'}).then(a => a.text()).then(done, "
        "error => done('no: ' + error))"
    )
    assert "page of bob" in visiting.ask(script, "/user/bob/other")
    for path in ("/user/alice/api", "away?/user/alice/api", "/user/bob/../alice/api"):
        visiting.reached()
        assert "page of bob" not in visiting.ask(script, path)
        assert not any(
            "alice/api" in one for one in visiting.reached() if "?" not in one
        )
    seen = visiting.ask(POPUP, "/user/alice/page")
    assert "page of bob" not in seen


@pytest.mark.parametrize("owner", ["alice", "bob"])
def test_a_page_changes_nothing_at_the_hub(visiting: Field, owner: str) -> None:
    before = visiting.tokens("alice")
    for path in ("/hub/api/users/alice/tokens", "/hub/token", "/hub/visit"):
        for target in ("_self", "popup"):
            visiting.web.open(f"/user/{owner}/page")
            visiting.web.run(POST, path, target)
            visiting.web.until(
                "the form is sent or refused",
                lambda: visiting.web.run("return document.readyState") == "complete",
            )
    visiting.web.close_others()
    assert visiting.tokens("alice") == before


@pytest.mark.parametrize("owner", ["alice", "bob"])
def test_a_page_leaves_neither_worker_nor_cookie(visiting: Field, owner: str) -> None:
    web = visiting.web
    web.open(f"/user/{owner}/page")
    for scope in ("/", "/hub/"):
        answer = visiting.ask(REGISTER, scope)
        # Of bob's server it is another script, which only ends itself.
        assert owner == "bob" or "registered" not in answer
    visiting.ask(REGISTER, f"/user/{owner}/")
    # Bob's ends itself; her own may stay.
    mine = [f"{web.home}/user/alice/"] if owner == "alice" else []
    web.until("workers are hers alone", lambda: visiting.ask(WORKERS) == mine)
    web.open("/hub/home")
    web.until("workers are hers alone", lambda: visiting.ask(WORKERS) == mine)
    assert "My servers" in web.text("h1")
    names = {one["name"] for one in web.driver.get_cookies()}
    assert names == {"jupyterhub-hub-login", "jupyterhub-session-id", "_xsrf"}


def test_cookies_of_a_script_neither_fool_nor_lock_out(visiting: Field) -> None:
    """Of what a page writes into the jar the hub believes nothing, and empties it."""
    web = visiting.web
    web.open("/user/bob/page")
    for path in ("/", "/hub", "/hub/home", "/user", "/user/alice", "/user/alice/"):
        for name in ("jupyterhub-session-id", "jupyterhub-hub-login", "_xsrf"):
            web.run(f"document.cookie = '{name}=evil; Path={path}'")
    for _ in range(2):
        web.open("/hub/home")
        assert "My servers" in web.text("h1")
        assert "alice" in web.text("header")
        web.open("/user/alice/page")
        assert web.path == "/user/alice/page"
        assert "page of bob" in web.text()
    web.open("/hub/home")
    sent = [one for one in web.driver.get_cookies() if one["value"] == "evil"]
    assert {one["name"] for one in sent} <= {"_xsrf"}


def test_signing_out_shuts_the_visit(visiting: Field) -> None:
    web = visiting.web
    web.open("/hub/home")
    cookies = web.driver.get_cookies()
    web.open("/hub/logout")
    for one in cookies:
        web.driver.add_cookie(one)
    visiting.reached()
    for path in ("/user/bob/page", "/user/alice/page"):
        web.open(path)
        assert web.path.startswith("/hub/login")
    assert visiting.reached() == []
