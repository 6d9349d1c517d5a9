"""A browser's session: signing in through the hub, and requests it did not mean."""

from __future__ import annotations

import re

import httpx

from rigs.hub.process import until

API = "/services/storage/api/v1/"


def xsrf_of(page: str) -> str:
    return re.search(r'data-xsrf="([^"]+)"', page)[1]


def test_the_page_opens_after_signing_in_and_changes_need_its_token(browser):
    page = browser.get("/services/storage/", headers={"Sec-Fetch-Mode": "navigate"})
    assert page.status_code == 200
    assert 'data-user="carol"' in page.text
    policy = page.headers["content-security-policy"]
    nonce = re.search(r"'nonce-([^']+)'", policy)[1]
    assert all(
        f'nonce="{nonce}"' in tag for tag in re.findall("<script[^>]*>", page.text)
    )
    token = xsrf_of(page.text)
    wish = {"name": "made"}
    for headers in ({}, {"X-XSRFToken": "wrong"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = browser.post(f"{API}buckets", json=wish, headers=headers)
        assert answer.status_code == 403, answer.text
        assert "X-XSRFToken" in answer.json()["error"]["hint"]
    answer = browser.post(f"{API}buckets", json=wish, headers={"X-XSRFToken": token})
    assert answer.status_code == 201, answer.text
    answer = browser.delete(f"{API}buckets/carol--made", headers={"X-XSRFToken": token})
    assert answer.status_code == 200


def test_another_sites_script_reads_nothing(browser):
    page = browser.get("/services/storage/", headers={"Sec-Fetch-Mode": "navigate"})
    sent = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    assert browser.get(f"{API}buckets", headers=sent).status_code == 403
    sent["X-XSRFToken"] = xsrf_of(page.text)
    answer = browser.get(f"{API}buckets", headers=sent)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_a_form_of_another_site_changes_nothing(browser):
    browser.get("/services/storage/", headers={"Sec-Fetch-Mode": "navigate"})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = browser.post(
            f"{API}buckets", content=b'{"name": "evil"}', headers={"Content-Type": kind}
        )
        assert answer.status_code == 403
    names = [b["name"] for b in browser.get(f"{API}buckets").json()["buckets"]]
    assert "carol--evil" not in names


def test_the_session_is_not_sent_to_the_store(browser):
    """What the edge hands to the store has no cookies: it answers as to a stranger."""
    browser.get("/services/storage/", headers={"Sec-Fetch-Mode": "navigate"})
    answer = browser.get("/s3/carol/x")
    assert answer.status_code == 403
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


PAGE = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}


def opened(browser) -> dict[str, str]:
    """What the page's own calls carry."""
    page = browser.get("/services/storage/", headers=PAGE)
    assert 'data-user="carol"' in page.text
    sent = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    return sent | {"X-XSRFToken": xsrf_of(page.text)}


def is_strange(client, sent: dict[str, str]) -> bool:
    """Whether the service knows this browser no more, neither by page nor by call."""
    call = client.get(f"{API}buckets", headers=sent)
    page = client.get("/services/storage/", headers=PAGE, follow_redirects=False)
    if call.status_code == 200 or page.status_code == 200:
        return False
    assert call.status_code in (401, 403), call.text
    assert page.status_code == 302, page.text
    return True


def test_a_sign_out_ends_the_session_at_once_and_its_copies_soon(gateway, browser):
    sent = opened(browser)
    with httpx.Client(base_url=browser.base_url, trust_env=False) as thief:
        thief.cookies = httpx.Cookies(browser.cookies)
        assert thief.get(f"{API}buckets", headers=sent).status_code == 200
        browser.get("/hub/logout", headers=PAGE)
        assert is_strange(browser, sent)
        page = browser.get("/services/storage/", headers=PAGE)
        assert page.url.path == "/hub/login"
        until("the copy is refused", lambda: is_strange(thief, sent), seconds=60)


def test_a_session_counts_only_beside_the_hubs_own(browser):
    sent = opened(browser)
    del browser.cookies["jupyterhub-session-id"]
    assert is_strange(browser, sent)
    # Nor does the hub know a browser by half of its cookies: she signs in again.
    page = browser.get("/services/storage/", headers=PAGE)
    assert page.url.path == "/hub/login"
