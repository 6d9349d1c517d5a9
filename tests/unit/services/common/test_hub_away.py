"""What a service believes of people while its hub is away."""

from __future__ import annotations

import pytest
from jupyterhub.services.auth import HubOAuth
from tornado.web import HTTPError

from services.common import auth as module
from services.common.auth import PatientAuth
from services.common.errors import NotReady
from services.common.people import HubDirectory

ANN = {"name": "ann", "kind": "user"}


@pytest.fixture
def hub(monkeypatch):
    """What the hub answers next: a model, ``None``, or an error's status."""
    answers: list[object] = []

    async def answer(self, url, api_token, cache_key=None, use_cache=True):
        said = answers.pop(0)
        if isinstance(said, int):
            raise HTTPError(said)
        return said

    monkeypatch.setattr(HubOAuth, "_check_hub_authorization", answer)
    return answers


@pytest.fixture
def auth(monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/services/storage/")
    return PatientAuth(api_token="x", api_url="http://hub/hub/api")


async def ask(auth, key="token:s:t"):
    return await auth._check_hub_authorization("url", "t", cache_key=key)


async def test_who_was_known_is_known_while_the_hub_is_away(auth, hub):
    hub += [ANN, 503, 500, ANN]
    for _ in range(4):
        assert await ask(auth) == ANN


async def test_who_was_refused_last_is_not_known(auth, hub):
    hub += [ANN, None, 503]
    assert await ask(auth) == ANN
    assert await ask(auth) is None
    with pytest.raises(HTTPError):
        await ask(auth)


async def test_a_stranger_is_not_known_by_anybodys_answer(auth, hub):
    hub += [ANN, 503]
    assert await ask(auth) == ANN
    with pytest.raises(HTTPError):
        await ask(auth, "token:s:another")


async def test_a_hub_that_refuses_the_service_is_not_away(auth, hub):
    hub += [ANN, 403]
    assert await ask(auth) == ANN
    with pytest.raises(HTTPError):
        await ask(auth)


async def test_a_hub_that_is_away_for_too_long_knows_nobody(auth, hub, monkeypatch):
    monkeypatch.setattr(module, "AWAY_SECONDS", -1)
    hub += [ANN, 503]
    assert await ask(auth) == ANN
    with pytest.raises(HTTPError):
        await ask(auth)


async def test_groups_are_those_that_were_while_the_hub_is_away(monkeypatch):
    monkeypatch.setattr("services.common.people.CACHE_SECONDS", -1)
    answers: list[object] = [{"groups": ["lab"]}, NotReady("away"), NotReady("away")]

    async def fetch(self, path):
        said = answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(HubDirectory, "_fetch", fetch)
    directory = HubDirectory("http://hub/hub/api", "token")
    assert await directory.groups_of("ann") == {"lab"}
    assert await directory.groups_of("ann") == {"lab"}
    with pytest.raises(NotReady):
        await directory.groups_of("bob")
    await directory.close()
