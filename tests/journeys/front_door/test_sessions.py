"""Signing out ends the session: what a copy of a browser's cookies is worth then."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from rigs.hub.process import PASSWORD, HubProcess, hub_of_its_own, until

SESSION = "jupyterhub-session-id"
SIGN_IN = "jupyterhub-hub-login"
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with hub_of_its_own(storage=True) as hub:
        yield hub


_open: list[httpx.Client] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


def browser(hub: HubProcess, cookies: httpx.Cookies | None = None) -> httpx.Client:
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{hub.port}",
        cookies=httpx.Cookies(cookies),
        follow_redirects=True,
        trust_env=False,
        timeout=30,
    )
    _open.append(client)
    return client


def sign_in(hub: HubProcess, name: str) -> httpx.Client:
    """A browser in which somebody is signed in, at the hub and at storage."""
    client = browser(hub)
    page = client.get("/hub/login", headers=NAVIGATION).text
    token = re.search(r'name="_xsrf" value="([^"]+)"', page)
    assert token is not None
    values = {"username": name, "password": PASSWORD, "_xsrf": token.group(1)}
    client.post("/hub/login", data=values, headers=NAVIGATION)
    assert who(client) == name
    return client


def home(client: httpx.Client) -> httpx.Response:
    return client.get("/hub/home", headers=NAVIGATION, follow_redirects=False)


def who(client: httpx.Client) -> str | None:
    answer = client.get("/hub/api/user", headers=NAVIGATION)
    return answer.json()["name"] if answer.status_code == 200 else None


def xsrf(client: httpx.Client) -> str:
    found = re.search(r'xsrf_token: "([^"]+)"', home(client).text)
    assert found is not None
    return found.group(1)


def make_token(client: httpx.Client, name: str, token: str) -> int:
    return client.post(
        f"/hub/api/users/{name}/tokens", json={}, headers={"X-XSRFToken": token}
    ).status_code


def test_a_copy_of_the_cookies_is_worth_nothing_after_signing_out(hub) -> None:
    ann = sign_in(hub, "ann")
    token = xsrf(ann)
    assert make_token(ann, "ann", token) == 201
    copies = [browser(hub, ann.cookies) for _ in range(3)]
    del copies[1].cookies[SESSION]
    assert home(copies[0]).status_code == 200

    ann.get("/hub/logout", headers=NAVIGATION)
    for _ in ("this hub", "the next one"):
        for copy in copies:
            again = browser(hub, copy.cookies)
            assert home(again).status_code == 302
            assert who(again) is None
            assert make_token(browser(hub, copy.cookies), "ann", token) == 403
        hub.kill()
        hub.start()


def test_the_sign_in_cookie_counts_only_with_its_own_session(hub) -> None:
    ann, eve = sign_in(hub, "ann"), sign_in(hub, "eve")
    session = ann.cookies[SESSION]
    alone = browser(hub, ann.cookies)
    del alone.cookies[SESSION]
    assert who(alone) is None
    mixed = browser(hub, ann.cookies)
    del mixed.cookies[SESSION]
    mixed.cookies.set(SESSION, eve.cookies[SESSION], domain="127.0.0.1", path="/")
    assert who(mixed) is None
    made_up = browser(hub, ann.cookies)
    del made_up.cookies[SESSION]
    made_up.cookies.set(SESSION, "0" * 32, domain="127.0.0.1", path="/")
    assert who(made_up) is None
    # None of these attempts has ended the sessions that they touched.
    assert who(ann) == "ann"
    assert who(eve) == "eve"
    assert ann.cookies[SESSION] == session


def test_signing_in_makes_a_session_that_nobody_knew_before(hub) -> None:
    client = browser(hub)
    planted = "f" * 32
    client.cookies.set(SESSION, planted, domain="127.0.0.1", path="/")
    page = client.get("/hub/login", headers=NAVIGATION).text
    token = re.search(r'name="_xsrf" value="([^"]+)"', page)
    assert token is not None
    values = {"username": "ann", "password": PASSWORD, "_xsrf": token.group(1)}
    client.post("/hub/login", data=values, headers=NAVIGATION)
    sessions = [one for one in client.cookies.jar if one.name == SESSION]
    assert [one.value for one in sessions] != [planted]
    # It outlives the browser's window, as the sign-in does.
    assert all(one.expires for one in sessions)


def test_somebody_else_who_signs_in_ends_the_session_before(hub) -> None:
    client = sign_in(hub, "ann")
    copy = browser(hub, client.cookies)
    values = {"username": "eve", "password": PASSWORD, "_xsrf": xsrf(client)}
    client.post("/hub/login", data=values, headers=NAVIGATION)
    assert who(client) == "eve"
    assert who(copy) is None


def test_sessions_outlive_the_hub_however_it_ends(hub) -> None:
    ann = sign_in(hub, "ann")
    hub.kill()
    hub.start()
    assert who(ann) == "ann"
    hub.stop()
    hub.start()
    assert who(ann) == "ann"


def test_whose_account_is_deleted_is_signed_out_everywhere(hub) -> None:
    first, second = sign_in(hub, "gone"), sign_in(hub, "gone")
    hub.call("DELETE", "users/gone")
    assert who(first) is None
    # Nor does it come back for whoever has the name next.
    hub.add_user("gone")
    assert who(second) is None


def test_a_renamed_user_signs_in_again(hub) -> None:
    client = sign_in(hub, "old")
    hub.call("PATCH", "users/old", {"name": "new"})
    assert who(client) is None
    assert who(sign_in(hub, "old")) == "old"
    assert who(client) is None


def test_an_upgrade_takes_over_the_sessions_that_jupyterhub_knows(hub) -> None:
    ann, eve = sign_in(hub, "ann"), sign_in(hub, "eve")
    until(
        "storage is there",
        lambda: ann.get("/services/storage/health").status_code == 200,
    )
    # A token is made for her session, as for each notebook server that she opens.
    assert ann.get("/services/storage/", headers=NAVIGATION).status_code == 200
    hub.stop()
    for path in (hub.state / "db").glob("sessions.sqlite*"):
        path.unlink()
    hub.start()
    assert who(ann) == "ann"
    assert who(eve) is None
    ann.get("/hub/logout", headers=NAVIGATION)
    hub.stop()
    for path in (hub.state / "db").glob("sessions.sqlite*"):
        path.unlink()
    hub.start()
    assert who(ann) is None


FETCH = {
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
}


def test_the_hubs_pages_are_given_to_windows_alone(hub) -> None:
    ann = sign_in(hub, "ann")
    page = home(ann)
    assert page.status_code == 200
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    cookies = [one for one in ann.cookies.jar if one.path in ("/", "/hub/")]
    assert {one.name for one in cookies} == {SESSION, SIGN_IN, "_xsrf"}
    assert all(one.has_nonstandard_attr("HttpOnly") for one in cookies)

    authorize = "/hub/api/oauth2/authorize?client_id=service-storage"
    for path in ("/hub/home", "/hub/token", "/hub/spawn", "/hub/login", authorize):
        for sent in (
            FETCH,
            FETCH | {"Sec-Fetch-Mode": "no-cors"},
            FETCH | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        ):
            for method in ("GET", "POST", "HEAD", "PUT"):
                answer = ann.request(method, path, headers=sent, follow_redirects=False)
                assert answer.status_code == 403, (method, path, sent)
                # An error of JupyterHub's is a page as well, with the token in it.
                assert "xsrf" not in answer.text
                assert "Set-Cookie" not in answer.headers
    token = {"X-XSRFToken": xsrf(ann)}
    user = "/hub/api/users/ann"
    assert ann.get(user, headers=FETCH).status_code == 403
    assert ann.get(user, headers=FETCH | token).status_code == 200
    silent = FETCH | {"Sec-Fetch-Mode": "no-cors"}
    assert ann.get(user, headers=silent).status_code == 403
    strange = FETCH | token | {"Sec-Fetch-Site": "same-site"}
    assert ann.get(user, headers=strange).status_code == 403
    by_token = {"Authorization": hub.api.headers["Authorization"]}
    assert ann.get(user, headers=strange | by_token).status_code == 200
