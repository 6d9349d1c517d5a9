"""The storage service's REST API answers what it was recorded to answer.

Clients that nobody here wrote rely on it. A change on purpose is recorded anew with
``LANDBRIDGE_RECORD=1``, and shows as a change of the recorded file.
"""

from __future__ import annotations

import os
import re

import pytest

from rigs.services.conversation import read_recorded, talk, write_recorded
from rigs.services.service import running_service, write_key
from rigs.stores.sites import StoreFacts
from services.storage.spec import SPEC


@pytest.fixture(scope="module")
def exchanges(
    seaweedfs_facts: StoreFacts, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, object]]:
    directory = tmp_path_factory.mktemp("recorded")
    key = seaweedfs_facts.key
    options = {
        "endpoint": seaweedfs_facts.endpoint.replace("127.0.0.1", "localhost"),
        "key_file": write_key(directory, key.access_key, key.secret_key),
        "role_arn": seaweedfs_facts.role_arn,
        "user_bucket": "m-{user}",
        "route": "direct",
    }
    with running_service(directory, options) as rig:
        return talk(rig.person("alice"), rig.person("bob"))


def test_every_answer_is_as_recorded(exchanges):
    if os.environ.get("LANDBRIDGE_RECORD"):
        write_recorded(exchanges)
    for said, recorded in zip(exchanges, read_recorded(), strict=True):
        assert said == recorded


def test_every_route_was_called(exchanges):
    asked = [str(exchange["asked"]) for exchange in exchanges]
    for route in SPEC.routes:
        path = re.sub(r"\\?\{\w+\\?\}", r"[^/]+", route.path)
        assert any(re.fullmatch(f"{route.method} {path}", call) for call in asked), path
