"""A download through the service ends with the right to it, and with nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx

from rigs.services.person import PREFIX
from rigs.services.service import ServiceProcess
from rigs.stores.sites import Site, StoreFacts

MIB = 1024**2
SIZE = 64 * MIB
KEY = "a/..;x"  # such names go through the service
PROMISED_SECONDS = 30


async def make(facts: StoreFacts, bucket: str) -> None:
    site = Site(facts)
    try:
        await site.client.put(bucket, KEY, bytes(SIZE))
    finally:
        await site.close()


class Slow:
    """Somebody who reads two megabytes each second, until the end or for so long."""

    def __init__(self, rig: ServiceProcess, token: str, bucket: str) -> None:
        self.read = 0
        self._client = httpx.Client(trust_env=False, timeout=60)
        self._answer = self._client.send(
            self._client.build_request(
                "GET",
                f"{rig.origin}{PREFIX}content",
                params={"bucket": bucket, "key": KEY},
                headers={"Authorization": f"token {token}"},
            ),
            stream=True,
        )
        assert self._answer.status_code == 200
        self._pieces = self._answer.iter_raw(MIB)

    def more(self, seconds: float = 0) -> bool:
        """Read on; False at the end, or where it was cut."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.read += len(next(self._pieces))
            except (StopIteration, httpx.RemoteProtocolError):
                return False
            if time.monotonic() > until:
                return True
            if seconds:
                time.sleep(0.5)

    def close(self) -> None:
        self._answer.close()
        self._client.close()


def test_a_download_ends_with_its_token_and_no_other_does(
    serve: Callable[..., ServiceProcess], seaweedfs_facts: StoreFacts
) -> None:
    rig = serve(
        seaweedfs_facts, role_arn=seaweedfs_facts.role_arn, user_bucket="r-{user}"
    )
    alice = rig.person("alice")
    alice.put("x", b"1", "r-alice")
    asyncio.run(make(seaweedfs_facts, "r-alice"))
    stolen, kept = rig.hub.token("alice"), rig.hub.token("alice")
    thief, owner = (Slow(rig, token, "r-alice") for token in (stolen, kept))
    try:
        assert thief.more()
        assert owner.more()
        rig.hub.revoke(stolen)
        began = time.monotonic()
        while thief.more(1):
            assert time.monotonic() - began < PROMISED_SECONDS
        assert 0 < thief.read < SIZE
        rig.hub.is_confused = True  # which ends sign-in only
        while owner.more():
            pass
        assert owner.read == SIZE
    finally:
        thief.close()
        owner.close()
