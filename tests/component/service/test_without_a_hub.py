"""The service's process without its hub, and with one that is there but no help."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from rigs.hub.process import until
from rigs.services.person import PREFIX
from rigs.services.service import ServiceProcess
from rigs.stores.sites import StoreFacts
from services.common.web.auth import CACHE_SECONDS

PROMISED_SECONDS = 30


def test_only_a_hub_that_does_not_run_is_believed_from_memory(
    serve: Callable[..., ServiceProcess], seaweedfs_facts: StoreFacts
) -> None:
    rig = serve(
        seaweedfs_facts, role_arn=seaweedfs_facts.role_arn, user_bucket="r-{user}"
    )

    def status(token: str) -> int:
        return httpx.get(
            f"{rig.origin}{PREFIX}api/v1/buckets",
            headers={"Authorization": f"token {token}"},
            trust_env=False,
            timeout=60,
        ).status_code

    stolen, kept, ended = (rig.hub.token("alice") for _ in range(3))
    assert [status(token) for token in (stolen, kept, ended)] == [200] * 3
    rig.hub.revoke(ended)
    began = time.monotonic()
    until("what ended is refused", lambda: status(ended) == 401)
    assert time.monotonic() - began < PROMISED_SECONDS

    rig.hub.stop()
    time.sleep(CACHE_SECONDS + 1)
    assert [status(token) for token in (stolen, kept, ended)] == [200, 200, 503]
    assert status("a-guess") == 503

    rig.hub.start()
    rig.hub.revoke(stolen)
    began = time.monotonic()
    until("what ended is refused", lambda: status(stolen) == 401)
    assert time.monotonic() - began < PROMISED_SECONDS

    rig.hub.is_confused = True
    until("nobody is let in without the hub's word", lambda: status(kept) == 503)
    assert status(stolen) != 200
    rig.hub.is_confused = False
    assert status(kept) == 200
