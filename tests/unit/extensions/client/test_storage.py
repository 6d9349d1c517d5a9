"""``landbridge.storage`` where no S3 client is needed to tell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from landbridge import (
    NotOnGateway,
    PackageMissing,
    StorageRefused,
    StorageUnavailable,
    _process,
    storage,
)
from landbridge_lab.gateway.storage import StorageService
from landbridge_lab.keys.endpoint import offer
from rigs.lab.storage_stub import StorageStub, refusal


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StorageStub]:
    """A storage service behind a notebook server that started this process."""
    service = StorageStub()
    found = StorageService.of(service.environment)
    assert found is not None
    offered = offer(found, {}, tmp_path)
    for name, value in offered.variables.items():
        monkeypatch.setenv(name, value)
    yield service
    offered.close()
    service.close()


def test_importing_it_loads_no_library() -> None:
    code = "import sys, landbridge; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(storage.__file__).parents[1])},
    )
    heavy = {"boto3", "botocore", "pyarrow", "s3fs", "obstore", "duckdb", "numpy"}
    assert not heavy & set(done.stdout.split())


def test_renewing_gets_keys_for_what_was_given_since(stub: StorageStub) -> None:
    before = storage.credentials().access_key
    storage.renew()
    assert storage.credentials().access_key == before
    stub.rights = "one bucket more"
    storage.renew()
    assert storage.credentials().access_key != before
    stub.trouble = (503, refusal("not-ready", "Storage is not ready."))
    storage.renew()  # what there is is still good


def test_keys_and_place_are_told(stub: StorageStub) -> None:
    keys = storage.credentials()
    assert keys.access_key.startswith("ACCESS")
    assert keys.expires.tzinfo is not None
    assert keys.secret_key not in repr(keys)
    place = storage.place()
    assert (place.bucket, place.is_tls, place.host) == ("ada", False, "127.0.0.1:9")


def test_keys_to_a_part_are_asked_for_as_such(stub: StorageStub) -> None:
    storage.credentials("data", "in/ä b/", "read")
    assert stub.asked[-1]["grants"] == [
        {"bucket": "data", "prefix": "in/ä b/", "mode": "read"}
    ]


def test_buckets_tell_whose_they_are(stub: StorageStub) -> None:
    share = {"name": "bob", "prefix": "in/", "mode": "read", "why": "share"}
    share |= {"owner": "bob", "quota": 5, "usage": {"bytes": 3}}
    stub.buckets = {"buckets": [share]}
    (found,) = storage.buckets()
    assert found == storage.Bucket("bob", "in/", "read", "share", "bob", 5, 3)


def test_outside_a_gateway_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANDBRIDGE_STORAGE_URL", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NotOnGateway, match="restart the kernel"):
        storage.credentials()


def test_a_kernel_in_a_job_has_only_the_variables_of_the_sdks(
    stub: StorageStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANDBRIDGE_STORAGE_URL")
    assert storage.credentials().access_key


def test_a_refusal_has_the_services_words(stub: StorageStub) -> None:
    stub.trouble = (404, refusal("not-found", "There is no bucket x for you."))
    with pytest.raises(StorageRefused, match="no bucket x") as told:
        storage.credentials("x")
    assert told.value.status == 404
    stub.trouble = (503, refusal("not-ready", "Storage is not ready."))
    with pytest.raises(StorageUnavailable, match="not ready"):
        storage.buckets()


def test_a_server_that_is_gone_is_explained(
    stub: StorageStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDBRIDGE_STORAGE_URL", "http://127.0.0.1:9/credentials")
    with pytest.raises(StorageUnavailable, match="restart this kernel"):
        storage.credentials()


def test_a_missing_library_says_how_to_get_it(
    stub: StorageStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(PackageMissing, match="%pip install pyarrow") as told:
        storage.pyarrow_filesystem()
    assert isinstance(told.value, ImportError)


def test_options_hold_keys_only_where_the_sdks_have_others(
    stub: StorageStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert storage.fsspec_options().keys() == {"endpoint_url", "client_kwargs"}
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert storage.fsspec_options()["token"].startswith("token")


def test_rclones_variables_are_a_remote(stub: StorageStub) -> None:
    found = storage.rclone_config("mine")
    assert found["RCLONE_CONFIG_MINE_TYPE"] == "s3"
    assert found["RCLONE_CONFIG_MINE_SESSION_TOKEN"].startswith("token")


def test_the_process_prints_keys_or_why_not(
    stub: StorageStub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _process.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert found["Version"] == 1
    assert found.keys() >= {"AccessKeyId", "SecretAccessKey", "SessionToken"}


def test_a_process_without_keys_says_why(
    stub: StorageStub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.trouble = (503, refusal("not-ready", "Storage is not ready."))
    assert _process.main() == 1
    assert "Storage is not ready." in capsys.readouterr().err
