"""Real S3 stores, started once per session: SeaweedFS, and Ceph's gateway."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from rigs.stores.ceph import Ceph, missing_programs
from rigs.stores.fault_proxy import FaultProxy
from rigs.stores.identity_provider import SHORT_SECONDS, Provider
from rigs.stores.sites import Site, StoreFacts, WeedRig
from services.storage.drivers.sts import StsDriver, StsSettings
from services.storage.s3.client import S3Client
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import AccessKey
from services.storage.site.embedded_files import EmbeddedSettings
from services.storage.site.probe import StoreFeatures, probe


def _probe(endpoint: str, key: AccessKey, role_arn: str) -> StoreFeatures:
    async def run() -> StoreFeatures:
        client = S3Client(StoreAddress(endpoint), key)
        try:
            return await probe(client, StsDriver(client, StsSettings(role_arn)))
        finally:
            await client.close()

    # A thread of its own: the caller's may be running a loop already.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()


@pytest.fixture(scope="session")
def weed_rig() -> Iterator[WeedRig]:
    """One embedded SeaweedFS for the session."""
    directory = Path(tempfile.mkdtemp(prefix="lbweed-", dir="/var/tmp"))
    rig = WeedRig(EmbeddedSettings(directory / "store", iam_changes=True))
    try:
        rig.up()
        yield rig
    finally:
        rig.down()
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def seaweedfs_facts(weed_rig: WeedRig) -> StoreFacts:
    """The session's SeaweedFS, probed."""
    access = weed_rig.access
    features = _probe(access.endpoint, access.key, access.role_arn)
    return StoreFacts(
        "seaweedfs",
        access.endpoint,
        access.key,
        access.role_arn,
        features,
        weed_rig.settings.directory,
    )


@pytest.fixture(scope="session")
def rgw_facts() -> Iterator[StoreFacts]:
    """The session's Ceph, probed. For tests marked root."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: radosgw ceph-mon ceph-osd)")
    directory = Path(tempfile.mkdtemp(prefix="lbceph-", dir="/var/tmp"))
    ceph = Ceph(directory)
    try:
        ceph.up()
        key = AccessKey(ceph.access_key, ceph.secret_key)
        features = _probe(ceph.endpoint, key, ceph.role_arn)
        yield StoreFacts("rgw", ceph.endpoint, key, ceph.role_arn, features, directory)
    finally:
        ceph.down()
        shutil.rmtree(directory)


@pytest.fixture
async def weed(seaweedfs_facts: StoreFacts) -> AsyncIterator[Site]:
    """SeaweedFS within one test."""
    site = Site(seaweedfs_facts)
    yield site
    await site.close()


@pytest.fixture(params=["seaweedfs", pytest.param("rgw", marks=pytest.mark.root)])
def store_facts(request: pytest.FixtureRequest) -> StoreFacts:
    """Each of the stores."""
    return request.getfixturevalue(f"{request.param}_facts")


@pytest.fixture
async def site(store_facts: StoreFacts) -> AsyncIterator[Site]:
    """Each of the stores within one test."""
    one = Site(store_facts)
    yield one
    await one.close()


@pytest.fixture
async def faults(weed: Site) -> AsyncIterator[FaultProxy]:
    """A proxy before SeaweedFS that does what a test tells it to."""
    host, _, port = weed.address.endpoint.removeprefix("http://").partition(":")
    proxy = FaultProxy(host, int(port))
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """An identity provider."""
    one = Provider()
    yield one
    one.close()


@pytest.fixture(scope="session")
def short_rig(provider: Provider) -> Iterator[WeedRig]:
    """SeaweedFS whose sessions last seconds, and which trusts the provider."""
    directory = Path(tempfile.mkdtemp(prefix="lbweed-", dir="/var/tmp"))
    facts = {
        "issuer": provider.issuer,
        "clientId": "gateway",
        "jwksUri": f"{provider.issuer}/jwks",
    }
    rig = WeedRig(
        EmbeddedSettings(
            directory / "store",
            providers={"hub": facts},
            session_length=timedelta(seconds=SHORT_SECONDS),
        )
    )
    try:
        rig.up()
        yield rig
    finally:
        rig.down()
        shutil.rmtree(directory)
