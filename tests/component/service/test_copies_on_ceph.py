"""Copies between a home directory and Ceph, which keeps more names than files have."""

from __future__ import annotations

from pathlib import Path

import pytest

from landbridge_lab.gateway.storage import StorageService
from rigs.services.copying_home import Home
from rigs.services.person import PREFIX
from rigs.services.service import ServiceProcess, running_service, write_key

pytestmark = pytest.mark.root


@pytest.fixture
def rig(rgw_facts, tmp_path):
    key = rgw_facts.key
    settings = {
        "endpoint": rgw_facts.endpoint.replace("127.0.0.1", "localhost"),
        "key_file": write_key(tmp_path, key.access_key, key.secret_key),
        "role_arn": rgw_facts.role_arn,
        "route": "direct",
        "user_bucket": "h-{user}",
    }
    with running_service(tmp_path, settings) as one:
        yield one


async def test_slashes_at_a_names_beginning_stay(rig: ServiceProcess, tmp_path: Path):
    """``/x/a`` is not ``x/a``: neither is read or written for the other."""
    alice = rig.person("alice")
    service = StorageService(f"{rig.origin}{PREFIX}api/v1/", alice.token)
    home, own = Home(tmp_path, service), "h-alice"
    large = bytes(range(256)) * 2**16
    for name, data in {"/x/a": b"odd", "x/a": b"two", "p//b%2F é": large}.items():
        alice.put(name, data, bucket=own)
    for name in ("/x/", "p//b%2F é"):
        copy = await home.copy("to-home", [name], "in", bucket=own)
        assert (copy.phase, copy.done, copy.failed) == ("done", 1, 0), copy.failures
    assert (home.path / "in/x/a").read_bytes() == b"odd"
    assert (home.path / "in/b%2F é").read_bytes() == large

    (home.path / "a").write_bytes(b"new")
    (home.path / "big").write_bytes(large)
    for target in ("/x/", "p//"):
        copy = await home.copy("from-home", ["a", "big"], target, bucket=own)
        failed = 1 if target == "/x/" else 0  # there is one already
        assert (copy.phase, copy.failed) == ("done", failed), copy.failures
    copy = await home.copy("from-home", ["a"], "/x/", bucket=own, overwrite=True)
    assert (copy.phase, copy.done) == ("done", 1)
    names = ["/x/a", "/x/big", "p//a", "p//b%2F é", "p//big", "x/a"]
    assert alice.names(bucket=own) == names
    assert alice.get("/x/a", bucket=own).content == b"new"
    assert alice.get("x/a", bucket=own).content == b"two"
    assert alice.get("/x/big", bucket=own).content == large
