"""A browser's session: signing in through the hub, and requests it did not mean."""

from __future__ import annotations

import re

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
