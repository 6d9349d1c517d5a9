"""Keys in the notebook server: the loopback address, its cache, the variables."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from landbridge_lab import credential_process
from landbridge_lab.gateway.storage import (
    Keys,
    Place,
    ServiceFailed,
    StorageService,
    is_here,
)
from landbridge_lab.keys import endpoint as credentials
from landbridge_lab.keys.cache import KeyCache
from landbridge_lab.keys.endpoint import Offer, offer
from landbridge_lab.keys.variables import Local, has_profile, kernel_variables
from rigs.lab.storage_stub import StorageStub, made_up_keys, refusal
from spawners.kernels import credentials as kernel_storage

PLACE = Place("http://127.0.0.1:1", "us-east-1", "ada")
LOCAL = Local("http://127.0.0.1:2/credentials", "/run/token", "/run/rclone")


@pytest.fixture
def offered(stub: StorageStub, tmp_path: Path) -> Iterator[Offer]:
    """A running loopback address."""
    service = StorageService.of(stub.environment)
    assert service is not None
    found = offer(service, {}, tmp_path)
    yield found
    found.close()


def ask(offered: Offer, path: str = "", **headers: str | bytes) -> httpx.Response:
    token = offered.endpoint.token_file.read_text()
    with httpx.Client(trust_env=False, timeout=20) as client:
        return client.get(
            offered.endpoint.url.replace("/credentials", path or "/credentials"),
            headers={"Authorization": token} | headers,
        )


class TestEndpoint:
    def test_keys_come_in_the_form_that_sdks_want(self, offered: Offer) -> None:
        answer = ask(offered)
        assert answer.status_code == 200
        found = answer.json()
        assert found.keys() == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
        left = datetime.fromisoformat(found["Expiration"]) - datetime.now(UTC)
        assert timedelta(minutes=59) < left < timedelta(minutes=61)
        assert answer.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("word", ["", "Bearer x", "Bearer \u00e9"])
    def test_only_its_own_user_is_served(self, offered: Offer, word: str) -> None:
        answer = ask(offered, Authorization=word.encode("latin-1"))
        assert answer.status_code == 401
        assert "AccessKeyId" not in answer.text
        assert "Authorization" in answer.text

    def test_the_token_is_in_a_file_that_only_its_user_reads(
        self, offered: Offer
    ) -> None:
        path = offered.endpoint.token_file
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert Path.home() not in path.parents
        assert offered.endpoint.url.startswith("http://127.0.0.1:")

    def test_nothing_is_left_behind(self, stub: StorageStub, tmp_path: Path) -> None:
        service = StorageService.of(stub.environment)
        assert service is not None
        found = offer(service, {}, tmp_path)
        found.close()
        assert not found.directory.exists()
        with pytest.raises(httpx.ConnectError):
            httpx.get(found.endpoint.url, trust_env=False)

    def test_one_set_of_keys_serves_many_askers(
        self, offered: Offer, stub: StorageStub
    ) -> None:
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda _: ask(offered).json(), range(32)))
        assert len({str(item) for item in found}) == 1
        assert len(stub.asked) == 1

    def test_narrower_keys_are_their_own(
        self, offered: Offer, stub: StorageStub
    ) -> None:
        whole = ask(offered).json()
        part = ask(offered, "/credentials?bucket=b&prefix=in%2F&mode=read").json()
        assert part != whole
        grants = [body.get("grants") for body in stub.asked]
        assert grants == [None, [{"bucket": "b", "prefix": "in/", "mode": "read"}]]

    def test_new_rights_are_for_who_asks_to_renew(
        self, offered: Offer, stub: StorageStub
    ) -> None:
        before = ask(offered).json()
        stub.rights = "one bucket more"
        assert ask(offered).json() == before
        after = ask(offered, "/credentials?renew=1").json()
        assert after != before
        assert ask(offered).json() == after
        assert ask(offered, "/credentials?renew=1").json() == after

    def test_keys_that_were_ended_are_replaced(
        self, offered: Offer, stub: StorageStub
    ) -> None:
        narrow = "/credentials?bucket=b&renew=1"
        whole, part = ask(offered).json(), ask(offered, narrow).json()
        stub.rights = "one bucket more"
        assert ask(offered, narrow).json() == part
        stub.ended = {"ada--1", "ada--2"}
        assert ask(offered, "/credentials?renew=1").json() != whole
        assert ask(offered, narrow).json() != part

    def test_a_refusal_is_passed_on_in_the_services_words(
        self, offered: Offer, stub: StorageStub
    ) -> None:
        stub.trouble = (503, refusal("not-ready", "Storage is not ready.", "Wait."))
        answer = ask(offered)
        assert (answer.status_code, answer.text) == (
            503,
            "Storage is not ready. Wait.\n",
        )

    def test_the_place_and_the_buckets_are_told(self, offered: Offer) -> None:
        place = ask(offered, "/storage").json()
        assert place["bucket"] == "ada"
        assert ask(offered, "/buckets").json()["buckets"][0]["name"] == "ada"
        assert ask(offered, "/else").status_code == 404


class Source:
    """Gives keys that live for ``life`` on a clock moved by hand."""

    def __init__(self, life: float = 3600) -> None:
        self.now, self.life = 1_000_000.0, life
        self.count, self.broken = 0, False
        self.rights, self.looked = "a", 0

    def look(self, keys: Keys) -> bool:
        self.looked += 1
        if self.broken:
            raise ServiceFailed("no")
        return keys.rights == self.rights

    def __call__(self) -> Keys:
        self.count += 1
        if self.broken:
            raise ServiceFailed("no")
        ends = datetime.fromtimestamp(self.now + self.life, UTC)
        return Keys(f"A{self.count}", "s", "t", ends, rights=self.rights)


class TestCache:
    def test_keys_are_renewed_after_two_thirds_of_their_life(self) -> None:
        source = Source()
        cache = KeyCache(source, lambda: source.now)
        assert cache.get().access_key == "A1"
        source.now += 2399
        assert cache.get().access_key == "A1"
        source.now += 2
        assert cache.get().access_key == "A2"

    def test_old_keys_go_on_while_new_ones_cannot_be_had(self) -> None:
        source = Source()
        cache = KeyCache(source, lambda: source.now)
        cache.get()
        source.broken = True
        source.now += 3599
        assert cache.get().access_key == "A1"
        source.now += 2
        with pytest.raises(ServiceFailed):
            cache.get()

    def test_keys_follow_new_rights_soon_and_seldom_ask(self) -> None:
        source = Source()
        cache = KeyCache(source, lambda: source.now, source.look)
        cache.get()
        source.rights = "b"
        source.now += 14
        assert cache.get().access_key == "A1"
        assert source.looked == 0
        source.now += 2
        assert cache.get().access_key == "A2"
        for _ in range(50):
            assert cache.get().access_key == "A2"
        assert source.looked == 1

    def test_who_asks_to_renew_does_not_wait(self) -> None:
        source = Source()
        cache = KeyCache(source, lambda: source.now, source.look)
        cache.get()
        assert cache.get(renew=True).access_key == "A1"
        source.rights = "b"
        assert cache.get(renew=True).access_key == "A2"

    def test_keys_that_are_good_go_on_when_rights_are_not_known(self) -> None:
        source = Source()
        cache = KeyCache(source, lambda: source.now, source.look)
        cache.get()
        source.broken = True
        source.now += 20
        assert cache.get().access_key == "A1"
        assert (source.looked, source.count) == (1, 1)

    def test_a_service_that_is_down_is_not_asked_at_every_call(self) -> None:
        source = Source()
        source.broken = True
        cache = KeyCache(source, lambda: source.now)
        for _ in range(50):
            with pytest.raises(ServiceFailed):
                cache.get()
        assert source.count == 1
        source.broken = False
        source.now += 4
        assert cache.get().access_key == "A2"

    def test_askers_wait_for_the_one_fetch(self) -> None:
        source, began, go = Source(), threading.Event(), threading.Event()

        def fetch() -> Keys:
            began.set()
            assert go.wait(10)
            return source()

        cache = KeyCache(fetch, lambda: source.now)
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(cache.get) for _ in range(8)]
            assert began.wait(10)
            go.set()
            assert {each.result(10).access_key for each in waiting} == {"A1"}
        assert source.count == 1


class TestService:
    def test_there_is_none_without_a_hub(self) -> None:
        assert StorageService.of({}) is None
        assert StorageService.of({"JUPYTERHUB_API_URL": "http://h/hub/api"}) is None

    def test_it_is_found_under_the_gateways_own_path(self) -> None:
        service = StorageService.of(
            {
                "JUPYTERHUB_API_URL": "https://h:1/lab/hub/api",
                "JUPYTERHUB_API_TOKEN": "t",
            }
        )
        assert service is not None
        assert service.url == "https://h:1/lab/services/storage/api/v1/"
        assert "'t'" not in repr(service)

    def test_a_gateway_without_storage_is_not_asked_again(
        self, stub: StorageStub
    ) -> None:
        stub.trouble = (404, {})
        service = StorageService.of(stub.environment)
        assert service is not None
        with pytest.raises(ServiceFailed, match="no storage service") as told:
            service.place()
        assert told.value.final

    def test_keys_without_an_end_or_token_are_good_for_an_hour(
        self, stub: StorageStub
    ) -> None:
        pasted = {**made_up_keys(1), "session_token": None, "expires": None}
        stub.issue = lambda body: pasted
        service = StorageService.of(stub.environment)
        assert service is not None
        keys = service.issue((), "test")
        assert keys.token == ""
        assert keys.expires > datetime.now(UTC) + timedelta(minutes=50)

    def test_on_another_machine_a_loopback_store_is_reached_by_the_gateway(
        self, stub: StorageStub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "landbridge_lab.gateway.storage.is_here", lambda host: False
        )
        service = StorageService.of(stub.environment)
        assert service is not None
        with pytest.raises(ServiceFailed, match="public_url"):
            service.place()
        stub.me["gateway"] = "https://gateway.example.org/s3"
        assert service.place().endpoint == "https://gateway.example.org/s3"

    def test_beside_the_gateway_the_store_is_reached_by_it_as_well(
        self, stub: StorageStub
    ) -> None:
        """The store's own port is anybody's while the store is being started."""
        stub.me["gateway"] = "http://127.0.0.1:8000"
        service = StorageService.of(stub.environment)
        assert service is not None
        place = service.place()
        assert place.endpoint == "http://127.0.0.1:8000"
        assert place.elsewhere == ""

    def test_a_machine_knows_its_own_addresses(self) -> None:
        assert is_here("127.0.0.1")
        assert is_here("localhost")
        assert not is_here("192.0.2.1")
        assert not is_here("no-such-host.invalid")

    def test_a_page_of_long_names_is_no_silence(self, stub: StorageStub) -> None:
        service = StorageService.of(stub.environment)
        assert service is not None
        name = "\u6f22" * 340  # 1,020 bytes, and twice that in JSON
        entry = {"key": name, "size": 1, "modified": None, "etag": "0" * 32}
        stub.objects = {"objects": [entry] * 1000, "prefixes": [], "token": None}
        assert len(service.objects("ada", "", "")["objects"]) == 1000
        stub.objects = {"objects": [entry] * 5000}
        with pytest.raises(ServiceFailed, match="too long"):
            service.objects("ada", "", "")


class TestVariables:
    def test_a_plain_environment_gets_all_of_them(self, tmp_path: Path) -> None:
        found = kernel_variables(PLACE, LOCAL, {"AWS_REGION": "mine"}, tmp_path)
        assert found["AWS_ENDPOINT_URL_S3"] == PLACE.endpoint
        assert found["AWS_ALLOW_HTTP"] == "true"
        assert found["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] == LOCAL.token_file
        assert found["RCLONE_CONFIG_S3_TYPE"] == "s3"
        assert "AWS_REGION" not in found

    @pytest.mark.parametrize(
        "name",
        ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE"],
    )
    def test_a_user_who_has_a_store_keeps_it(self, name: str, tmp_path: Path) -> None:
        found = kernel_variables(PLACE, LOCAL, {name: "mine"}, tmp_path)
        assert not [key for key in found if key.startswith("AWS_")]
        assert found["LANDBRIDGE_STORAGE_URL"] == LOCAL.url

    def test_a_users_profile_counts_too(self, tmp_path: Path) -> None:
        (tmp_path / ".aws").mkdir()
        file = tmp_path / ".aws" / "credentials"
        file.write_text("[other]\naws_access_key_id = x\n")
        assert not has_profile(tmp_path)
        file.write_text("[default]\naws_access_key_id = x\n")
        assert has_profile(tmp_path)
        file.write_text("what is this\n")
        assert has_profile(tmp_path)


class TestStart:
    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        before = dict(os.environ)
        for name in [n for n in os.environ if n.startswith(("AWS", "LANDBRIDGE"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(credentials, "_offer", None)
        monkeypatch.setattr(kernel_storage, "_offers", [])
        yield
        if credentials._offer is not None:
            credentials._offer.close()
        os.environ.clear()
        os.environ.update(before)

    def test_children_get_the_variables_at_once(
        self, stub: StorageStub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name, value in stub.environment.items():
            monkeypatch.setenv(name, value)
        credentials.start()
        found = credentials.environment()
        assert os.environ["AWS_ENDPOINT_URL_S3"] == stub.me["endpoint"]
        assert found.items() <= os.environ.items()
        assert not list(tmp_path.iterdir())

    def test_a_service_that_comes_later_is_found(
        self, stub: StorageStub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stub.trouble = (503, refusal("not-ready", "The store is being started."))
        for name, value in stub.environment.items():
            monkeypatch.setenv(name, value)
        credentials.start()
        assert credentials.environment() == {}
        stub.trouble = None
        deadline = time.monotonic() + 10
        while "AWS_ENDPOINT_URL" not in os.environ:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert credentials.environment()

    def test_without_a_hub_nothing_is_set(self) -> None:
        credentials.start()
        assert credentials.environment() == {}


def test_a_credential_process_prints_keys(offered: Offer) -> None:
    program = [sys.executable, "-I", credential_process.__file__]
    place = [offered.endpoint.url, str(offered.endpoint.token_file)]
    done = subprocess.run(
        [*program, *place], capture_output=True, text=True, check=True
    )
    assert '"Version": 1' in done.stdout
    assert '"SessionToken": "token1"' in done.stdout
    done = subprocess.run(
        [*program, "http://127.0.0.1:1/", place[1]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "notebook server" in done.stderr
