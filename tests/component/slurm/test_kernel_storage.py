"""A kernel as a Slurm job on another machine reads buckets without any arguments."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from rigs.kernels.kernels import KernelRig, run
from rigs.kernels.on_slurm import kernel_rig
from rigs.lab.key_offer import keys_offered
from rigs.slurm.machines import Machines

pytestmark = [pytest.mark.slurm, pytest.mark.root]

BUCKETS = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Owner><ID>ada</ID></Owner><Buckets><Bucket><Name>adas</Name>
<CreationDate>2026-01-01T00:00:00Z</CreationDate></Bucket></Buckets>
</ListAllMyBucketsResult>"""


class Store(BaseHTTPRequestHandler):
    """The gateway's S3, as far as it lists buckets."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        token = self.headers.get("X-Amz-Security-Token", "")
        self.seen.append((self.headers.get("Authorization", ""), token))
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(BUCKETS)))
        self.end_headers()
        self.wfile.write(BUCKETS)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def kernels(
    machines_rig: Machines, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KernelRig]:
    """Kernels of a notebook server that has keys; the store is on its machine."""
    machines_rig.repair()
    machines_rig.clear_jobs()
    server = ThreadingHTTPServer((machines_rig.hub_address, 0), Store)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    gateway = f"http://{machines_rig.hub_address}:{server.server_port}"
    try:
        with (
            keys_offered(gateway, monkeypatch),
            kernel_rig(machines_rig, monkeypatch) as rig,
        ):
            yield rig
    finally:
        server.shutdown()
        server.server_close()
        machines_rig.clear_jobs()


def test_boto3_needs_no_arguments_on_another_machine(kernels: KernelRig) -> None:
    _, client = kernels.start()
    node = run(client, "import os; print(os.environ['SLURMD_NODENAME'])")
    assert node.startswith("m")
    code = (
        "import boto3; print(boto3.client('s3').list_buckets()['Buckets'][0]['Name'])"
    )
    assert run(client, code, timeout=40) == "adas"
    authorization, token = Store.seen[-1]
    assert "ACCESS1" in authorization
    assert token == "token1"
    for record in kernels.records:
        assert "ACCESS1" not in repr(record)
