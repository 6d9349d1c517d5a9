"""Whom a service believes: a hub that runs, and where none runs what it said last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.httpclient import JupyterHubHTTPClient
from tornado.web import HTTPError

from services.common.access import people as people_module
from services.common.access.people import HubDirectory
from services.common.testing.hub import HubStub
from services.common.web import auth as auth_module
from services.common.web.auth import PatientAuth, hub_is_away
from services.common.web.errors import NotReady


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStub]:
    stub = HubStub(tmp_path / "hub.sock")
    yield stub
    stub.close()


@pytest.fixture
async def auth(hub: HubStub, monkeypatch: Any) -> AsyncIterator[PatientAuth]:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/services/storage/")
    yield PatientAuth(api_token="x", api_url=hub.url)
    client = JupyterHubHTTPClient.loop_instance()
    await client.close()


async def ask(auth: PatientAuth, token: str) -> str | None:
    """Whose the token is, once no answer that is kept for a moment counts any more."""
    auth.cache.values.clear()
    model = await auth.user_for_token(token, session_id="s", sync=False)
    return model and str(model["name"])


async def refused_as(auth: PatientAuth, token: str) -> int:
    with pytest.raises(HTTPError) as refusal:
        await ask(auth, token)
    return refusal.value.status_code


async def test_who_was_known_is_known_while_no_hub_runs(
    auth: PatientAuth, hub: HubStub
) -> None:
    ann = hub.token("ann")
    assert await ask(auth, ann) == "ann"
    hub.stop()
    assert [await ask(auth, ann) for _ in range(3)] == ["ann"] * 3
    hub.start()
    assert await ask(auth, ann) == "ann"


async def test_what_ends_at_a_hub_that_is_back_is_refused_at_once(
    auth: PatientAuth, hub: HubStub
) -> None:
    ann = hub.token("ann")
    assert await ask(auth, ann) == "ann"
    hub.stop()
    assert await ask(auth, ann) == "ann"
    hub.start()
    hub.revoke(ann)
    assert await ask(auth, ann) is None


async def test_what_is_known_to_have_ended_stays_so_while_no_hub_runs(
    auth: PatientAuth, hub: HubStub
) -> None:
    ann = hub.token("ann")
    assert await ask(auth, ann) == "ann"
    hub.revoke(ann)
    assert await ask(auth, ann) is None
    hub.stop()
    assert await refused_as(auth, ann) == 500


async def test_a_stranger_is_not_known_by_anybodys_answer(
    auth: PatientAuth, hub: HubStub
) -> None:
    assert await ask(auth, hub.token("ann")) == "ann"
    hub.stop()
    assert await refused_as(auth, "another") == 500


async def test_a_hub_that_is_confused_is_not_gone_past(
    auth: PatientAuth, hub: HubStub
) -> None:
    ann = hub.token("ann")
    assert await ask(auth, ann) == "ann"
    hub.is_confused = True
    assert await refused_as(auth, ann) == 502


async def test_a_hub_that_is_slow_is_not_gone_past(
    auth: PatientAuth, hub: HubStub, monkeypatch: Any
) -> None:
    ann = hub.token("ann")
    assert await ask(auth, ann) == "ann"
    hub.answering.clear()
    monkeypatch.setattr(auth_module, "_ASK_SECONDS", 0.2)
    assert await refused_as(auth, ann) == 504


async def test_a_hub_that_is_away_for_too_long_knows_nobody(
    auth: PatientAuth, hub: HubStub, monkeypatch: Any
) -> None:
    ann = hub.token("ann")
    assert await ask(auth, ann) == "ann"
    hub.stop()
    monkeypatch.setattr(auth_module, "AWAY_SECONDS", -1)
    assert await refused_as(auth, ann) == 500


def test_only_a_socket_tells_that_no_hub_runs(hub: HubStub) -> None:
    assert not hub_is_away(hub.url)
    hub.stop()
    assert hub_is_away(hub.url)
    assert not hub_is_away("http://127.0.0.1:9/hub/api"), "nobody listens there either"


async def test_groups_are_those_that_were_while_no_hub_runs(
    hub: HubStub, monkeypatch: Any
) -> None:
    monkeypatch.setattr(people_module, "CACHE_SECONDS", -1)
    hub.add_user("ann", "lab")
    hub.add_user("bob")
    directory = HubDirectory(hub.url, hub.service_token)
    assert await directory.groups_of("ann") == {"lab"}
    hub.is_confused = True
    with pytest.raises(NotReady):
        await directory.groups_of("ann")
    hub.stop()
    assert await directory.groups_of("ann") == {"lab"}
    with pytest.raises(NotReady):
        await directory.groups_of("bob")
    hub.is_confused = False
    hub.start()
    hub.users.clear()
    assert await directory.groups_of("ann") is None
    hub.stop()
    assert await directory.groups_of("ann") is None
    await directory.close()


async def test_thousands_of_people_are_one_question(hub: HubStub) -> None:
    people = [f"user{number}" for number in range(2_000)]
    for number, name in enumerate(people):
        hub.add_user(name, f"group{number % 40}")
    directory = HubDirectory(hub.url, hub.service_token)
    assert await directory.unknown_among([*people, "ghost"]) == {"ghost"}
    members = await directory.members_of(
        [*(f"group{number}" for number in range(40)), "no group"]
    )
    assert sum(map(len, members.values())) == len(people)
    assert "user41" in members["group1"]
    assert members["no group"] == frozenset()
    assert len(hub.asked) == 2
    assert await directory.unknown_among([]) == frozenset()
    assert await directory.members_of([]) == {}
    assert len(hub.asked) == 2
    await directory.close()


async def test_no_answer_ends_nobody(hub: HubStub) -> None:
    hub.add_user("ann", "lab")
    directory = HubDirectory(hub.url, hub.service_token)
    for fault in ("is_confused", "is_odd"):
        setattr(hub, fault, True)
        with pytest.raises(NotReady):
            await directory.unknown_among(["ann"])
        with pytest.raises(NotReady):
            await directory.members_of(["lab"])
        setattr(hub, fault, False)
    stranger = HubDirectory(hub.url, "another token")
    with pytest.raises(NotReady):
        await stranger.unknown_among(["ann"])
    hub.stop()
    with pytest.raises(NotReady):
        await directory.unknown_among(["ann"])
    await directory.close()
    await stranger.close()
