"""Who asks, by the hub's word: tokens and scopes, browsers with XSRF, a hub in trouble.

What is believed while no hub runs at all is in ``test_hub_away``.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from rigs.services.plain import READ, WRITE, Shelf
from services.common.testing.rig import ServiceRig
from services.common.web import auth as auth_module

Rig = ServiceRig[Shelf]
ACCESS = "access:services!service=plain"
THING = {"name": "cup", "size": 1}


async def test_a_token_of_the_hub_is_somebody(plain: Rig) -> None:
    assert await plain.program("ann").call("GET", "things") == {"things": []}


@pytest.mark.parametrize("token", ["", "another", "token-of-the-service"])
async def test_no_token_and_a_strangers_are_nobody(plain: Rig, token: str) -> None:
    who = plain.bearer("nobody", token)
    assert await who.refused("GET", "things") == (401, "not-signed-in")


async def test_a_token_may_what_its_scopes_say(plain: Rig) -> None:
    reader = plain.program("ann", [ACCESS, READ])
    assert await reader.call("GET", "things") == {"things": []}
    assert await reader.refused("POST", "things", THING) == (403, "forbidden")
    writer = plain.program("ann", [ACCESS, WRITE])
    assert await writer.refused("GET", "things") == (403, "forbidden")


async def test_a_token_that_may_not_use_the_service_is_refused(plain: Rig) -> None:
    other = plain.program("ann", ["access:services!service=other", READ, WRITE])
    assert await other.refused("GET", "things") == (403, "forbidden")


async def test_a_token_is_asked_about_once_and_then_again(plain: Rig) -> None:
    token = plain.hub.token("ann")
    ann = plain.bearer("ann", token)
    await ann.call("GET", "things")
    await ann.call("GET", "things")
    assert plain.hub.asked == [("GET", "/hub/api/user")]
    plain.hub.revoke(token)
    plain.forget_answers()
    assert await ann.refused("GET", "things") == (401, "not-signed-in")


async def test_a_browser_signs_in_at_the_hub_and_sees_the_page(plain: Rig) -> None:
    ann = await plain.browser("ann")
    page = await ann.open()
    assert page.status_code == 200
    assert "<title>ann</title>" in page.text
    assert await ann.call("GET", "things") == {"things": []}
    assert await ann.call("POST", "things", THING) == THING


async def test_cookies_are_for_this_service_and_no_script(plain: Rig) -> None:
    ann = await plain.browser("ann")
    own = [c for c in ann.http.cookies.jar if c.name != "jupyterhub-session-id"]
    assert {cookie.name for cookie in own} == {"service-plain", "_xsrf"}
    for cookie in own:
        assert cookie.path == "/services/plain/"
        assert cookie.has_nonstandard_attr("HttpOnly")
        assert cookie.get_nonstandard_attr("SameSite") == "Lax"


async def test_without_its_xsrf_token_a_browser_changes_nothing(plain: Rig) -> None:
    ann = await plain.browser("ann")
    headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    for more in ({}, {"X-XSRFToken": "x"}):
        answer = await ann.http.post(
            "api/v1/things", json=THING, headers={**headers, **more}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            403,
            "session-ended",
        )
    assert plain.opened.context.things == {}


async def test_one_browsers_xsrf_token_is_not_anothers(plain: Rig) -> None:
    ann, bob = await plain.browser("ann"), await plain.browser("bob")
    stolen = ann.http.cookies.get("_xsrf") or ""
    headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    answer = await bob.http.post(
        "api/v1/things", json=THING, headers={**headers, "X-XSRFToken": stolen}
    )
    assert answer.status_code == 403


async def test_pages_of_other_sites_ask_nothing(plain: Rig) -> None:
    ann = await plain.browser("ann")
    headers = {
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Site": "cross-site",
        "X-XSRFToken": ann.http.cookies.get("_xsrf") or "",
    }
    answer = await ann.http.post("api/v1/things", json=THING, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    frame = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert (await ann.http.get("", headers=frame)).status_code == 403


async def test_who_signed_out_of_the_hub_is_signed_out_here(plain: Rig) -> None:
    ann = await plain.browser("ann")
    ann.http.cookies.delete("jupyterhub-session-id")
    ann.http.cookies.set("jupyterhub-session-id", "another")
    assert (await ann.open()).is_redirect


async def test_a_sign_in_that_another_browser_began_is_refused(plain: Rig) -> None:
    mallory, ann = plain.bearer("mallory", ""), plain.bearer("ann", "")
    begun = await mallory.open()
    back = plain.hub.sign_in(begun.headers["Location"], "mallory")
    answer = await ann.open(back)
    assert answer.status_code == 403
    assert ann.http.cookies.get("service-plain") is None


async def test_a_code_is_good_once_and_for_whom_it_was_made(plain: Rig) -> None:
    ann, bob = plain.bearer("ann", ""), plain.bearer("bob", "")
    for_ann = plain.hub.sign_in((await ann.open()).headers["Location"], "ann")
    for_bob = plain.hub.sign_in((await bob.open()).headers["Location"], "bob")
    code, state = _values(for_ann)["code"], _values(for_bob)["state"]
    stolen = f"/services/plain/oauth_callback?code={code}&state={state}"
    assert (await bob.open(stolen)).status_code == 500  # its verifier is ann's
    assert (await ann.open(for_ann)).status_code == 500  # and it is used up
    assert bob.http.cookies.get("service-plain") is None


def _values(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


@pytest.mark.parametrize("trouble", ["confused", "odd", "slow", "away"])
async def test_of_a_hub_in_trouble_nobody_new_is_believed(
    plain: Rig, trouble: str, monkeypatch: Any
) -> None:
    ann = plain.program("ann")
    if trouble == "confused":
        plain.hub.is_confused = True
    elif trouble == "odd":
        plain.hub.is_odd = True
    elif trouble == "slow":
        monkeypatch.setattr(auth_module, "_ASK_SECONDS", 0.1)
        plain.hub.answering.clear()
    else:
        plain.hub.stop()
    answer = await asyncio.wait_for(ann.ask("GET", "things"), 10)
    assert answer.status_code in (500, 503)
    assert (await ann.http.get("health")).status_code == 200
