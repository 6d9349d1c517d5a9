"""A service with a host of its own: where it is, what its cookies are bound to."""

from __future__ import annotations

import pytest

from services.common.app import Environment
from services.common.web.auth import PatientAuth, hub_auth, own_url

APART = {
    "JUPYTERHUB_PUBLIC_URL": "https://storage--service.hub.example/services/storage/",
    "JUPYTERHUB_PUBLIC_HUB_URL": "https://hub.example/hub/",
}
TOGETHER = {
    "JUPYTERHUB_PUBLIC_URL": "https://hub.example/base/services/storage/",
    "JUPYTERHUB_PUBLIC_HUB_URL": "https://hub.example/base/hub/",
}
PLACE = {
    "LANDBRIDGE_SOCKET": "/run/x.sock",
    "LANDBRIDGE_STATE": "/state",
    "JUPYTERHUB_SERVICE_PREFIX": "/base/services/storage/",
    "JUPYTERHUB_BASE_URL": "/base/",
}


@pytest.mark.parametrize(
    ("environment", "url"),
    [(APART, APART["JUPYTERHUB_PUBLIC_URL"]), (TOGETHER, ""), ({}, "")],
)
def test_its_url_is_its_own_where_its_host_is(environment, url):
    assert own_url(environment) == url


def test_pages_lead_to_the_hub_by_its_host_where_that_is_another():
    apart = Environment.of(PLACE | APART)
    assert (apart.pages, apart.hub) == (own_url(APART), "https://hub.example/hub/")
    for environment in (PLACE | TOGETHER, PLACE):
        together = Environment.of(environment)
        assert (together.pages, together.hub) == ("", "/base/hub/")


@pytest.mark.parametrize(
    ("environment", "bound"),
    [
        (APART, True),
        (TOGETHER, False),
        ({}, False),
        ({k: v.replace("https:", "http:") for k, v in APART.items()}, False),
    ],
)
def test_its_cookies_are_bound_to_a_host_that_only_it_has(
    monkeypatch, environment, bound
):
    own = {"JUPYTERHUB_CLIENT_ID": "service-storage", "JUPYTERHUB_API_TOKEN": "t"}
    for name, value in (own | environment).items():
        monkeypatch.setenv(name, value)
    PatientAuth.clear_instance()
    try:
        assert hub_auth().cookie_name.startswith("__Host-") is bound
    finally:
        PatientAuth.clear_instance()
