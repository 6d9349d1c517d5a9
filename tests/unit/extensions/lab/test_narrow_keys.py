"""Keys for less than everything: what one set has no room for, and copies' own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from landbridge import storage
from landbridge_lab.copies.bucket import key_source, store_maker
from landbridge_lab.gateway.storage import ServiceFailed, StorageService
from landbridge_lab.keys.endpoint import Offer, offer
from rigs.lab.storage_stub import Json, StorageStub, made_up_keys

OWN = {"bucket": "ada", "prefix": "", "mode": "read-write"}
FIRST = {"bucket": "bob", "prefix": "in/", "mode": "read"}
SECOND = {"bucket": "bob", "prefix": "out/", "mode": "read-write"}


@pytest.fixture
def service(stub: StorageStub) -> StorageService:
    found = StorageService.of(stub.environment)
    assert found is not None
    return found


@pytest.fixture
def crowded(stub: StorageStub) -> StorageStub:
    """A service whose keys have room for two rights at most."""

    def issue(body: Json) -> Json:
        asked = list(body.get("grants") or [OWN, FIRST, SECOND])
        keys = made_up_keys(len(stub.asked))
        return {**keys, "grants": asked[:2], "left_out": asked[2:]}

    stub.issue = issue
    rights = [{**one, "name": one["bucket"]} for one in (OWN, FIRST, SECOND)]
    stub.buckets = {"buckets": rights}
    return stub


@pytest.fixture
def offered(
    crowded: StorageStub,
    service: StorageService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Offer]:
    found = offer(service, {}, tmp_path)
    for name, value in found.variables.items():
        monkeypatch.setenv(name, value)
    yield found
    found.close()


def ask(offered: Offer, query: str) -> Json:
    token = offered.endpoint.token_file.read_text()
    url = f"{offered.endpoint.url}?{query}"
    answer = httpx.get(url, headers={"Authorization": token}, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_is_left_out_is_logged_once(
    offered: Offer, crowded: StorageStub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "landbridge_lab"):
        ask(offered, "")
        crowded.rights = "others, with the same left out"
        ask(offered, "renew=1")
    assert len(crowded.asked) == 2
    (said,) = (record.getMessage() for record in caplog.records)
    assert "leave out bob/out/:" in said


def test_a_bucket_that_is_left_out_has_keys_of_its_own(
    offered: Offer, crowded: StorageStub
) -> None:
    whole = ask(offered, "")
    assert ask(offered, "use=ada") == whole
    assert ask(offered, "use=bob&prefix=in/") == whole
    part = ask(offered, "use=bob")
    assert part != whole
    assert ask(offered, "use=bob") == part
    assert ask(offered, "use=bob&prefix=out/run-7/") not in (whole, part)
    grants = [body.get("grants") for body in crowded.asked]
    assert grants == [None, [FIRST, SECOND], [SECOND]]


def test_a_store_takes_such_keys(offered: Offer, crowded: StorageStub) -> None:
    made = storage.store("bob", "out/")
    found = made.credential_provider()
    assert found["access_key_id"] == "ACCESS2"
    assert crowded.asked[-1]["grants"] == [SECOND]
    assert storage.store().credential_provider()["access_key_id"] == "ACCESS1"


@pytest.mark.parametrize(
    ("starts", "mode", "asked"),
    [
        (["in/a", "in/b/"], "read", [{**FIRST, "mode": "read"}]),
        (["out/"], "read", [{**SECOND, "mode": "read"}]),
        (["out/x/"], "read-write", [SECOND]),
        # Not hers: the service is to say so.
        (["in/"], "read-write", [{**FIRST, "mode": "read-write"}]),
        (["else/"], "read", [{**FIRST, "prefix": "else/"}]),
    ],
)
def test_copies_ask_for_the_right_that_they_need(
    starts: list[str],
    mode: str,
    asked: list[Json],
    crowded: StorageStub,
    service: StorageService,
) -> None:
    key_source(service, "bob", starts, mode).get()
    assert [body["grants"] for body in crowded.asked] == [asked]


def test_names_of_too_many_shares_are_told(
    crowded: StorageStub, service: StorageService
) -> None:
    crowded.issue = lambda body: {**made_up_keys(1), "left_out": [SECOND]}
    with pytest.raises(ServiceFailed, match="copy fewer at once"):
        key_source(service, "bob", ["in/", "out/"], "read").get()


def test_keys_that_the_user_brought_are_asked_for_whole(
    crowded: StorageStub, service: StorageService
) -> None:
    crowded.me["credentials"] = "pasted"
    store_maker(service, "bob", ["in/"], "read")
    assert [body.get("grants") for body in crowded.asked] == [None]
