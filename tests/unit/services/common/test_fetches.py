"""Which requests of a browser's pages are refused, by what the browser says itself."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from services.common.web.fetches import refusal


def asked(method: str = "GET", *, page: bool, token: bool = False, **sent: str) -> bool:
    headers = HTTPHeaders()
    for name, value in sent.items():
        full = (
            f"Sec-Fetch-{name.capitalize()}" if name != "worker" else "Service-Worker"
        )
        headers[full] = value
    return refusal(method, headers, page=page, by_token=token) == ""


@pytest.mark.parametrize("page", [True, False])
@pytest.mark.parametrize("site", ["none", "same-origin", "same-site", "cross-site"])
def test_a_window_may_go_anywhere_and_a_frame_nowhere(page: bool, site: str) -> None:
    assert asked(page=page, mode="navigate", dest="document", site=site)
    for frame in ("iframe", "frame", "embed", "object", "fencedframe"):
        assert not asked(page=page, mode="navigate", dest=frame, site=site)


@pytest.mark.parametrize("mode", ["cors", "same-origin", "no-cors", "websocket"])
def test_no_script_reads_a_page(mode: str) -> None:
    for kind in ("empty", "image", "script", "style", "worker", "object", "embed"):
        assert not asked(page=True, mode=mode, dest=kind, site="same-origin")
    for method in ("HEAD", "POST"):
        assert not asked(method, page=True, mode=mode, dest="empty", site="same-origin")


def test_our_own_scripts_ask_with_cors_alone() -> None:
    assert asked(page=False, mode="cors", dest="empty", site="same-origin")
    assert asked("POST", page=False, mode="cors", dest="empty", site="same-origin")
    # One origin may read the answer to this one, too, and JupyterHub asks no token.
    for method in ("GET", "POST"):
        sent = {"mode": "no-cors", "dest": "empty", "site": "same-origin"}
        assert not asked(method, page=False, **sent)


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_another_site_asks_with_a_token_or_not_at_all(site: str) -> None:
    sent = {"mode": "cors", "dest": "empty", "site": site}
    assert not asked(page=False, **sent)
    assert not asked("POST", page=False, **sent)
    assert asked(page=False, token=True, **sent)
    assert asked("OPTIONS", page=False, **sent)


def test_the_browser_reports_what_a_policy_refused() -> None:
    sent = {"mode": "no-cors", "dest": "report", "site": "same-origin"}
    assert asked("POST", page=True, **sent)


def test_a_program_is_not_asked_and_a_worker_never_made() -> None:
    assert asked(page=True)
    assert asked("POST", page=False)
    assert not asked(page=False, worker="script")
    sent = {"mode": "same-origin", "dest": "serviceworker", "worker": "script"}
    assert not asked(page=True, token=True, **sent)
