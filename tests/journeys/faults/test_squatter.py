"""bob takes the port of alice's dead server, and gets nothing by it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.checkout import TESTS
from rigs.faults.sightings import environment_of, processes
from rigs.faults.site import FaultSite

pytestmark = [pytest.mark.slurm, pytest.mark.root]

SECRET = "canary-of-alices-cookie"


@contextlib.contextmanager
def squatting(site: FaultSite, port: int, *certificate: str) -> Iterator[Path]:
    """bob listens on ``port``; yields the file of what he got."""
    kept = site.tools.directory / "kept" / f"squatter-{len(certificate)}"
    account = pwd.getpwnam("bob")
    program = site.tools.directory / "squatter.py"
    program.write_bytes((TESTS / "rigs/faults/squatter.py").read_bytes())
    with subprocess.Popen(
        ["/usr/bin/python3", "-I", program, str(port), kept, *certificate],
        stdout=subprocess.PIPE,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
    ) as squatter:
        try:
            assert squatter.stdout is not None
            assert squatter.stdout.readline() == b"bound\n"
            yield kept
        finally:
            squatter.kill()


@pytest.mark.parametrize("kind", ["plain", "certificate"])
def test_bob_on_alices_port_gets_not_even_a_request(site: FaultSite, kind: str) -> None:
    site.ready("alice")
    site.ready("bob")
    (record,) = site.query(
        "select endpoint from landbridge_jobs where owner = 'server:alice/'"
        " and phase = 'submitted'"
    )
    port = json.loads(record[0])["port"]
    (stub,) = processes("alice", site.stub)
    agent = int(Path(f"/proc/{stub}/stat").read_text().rpartition(")")[2].split()[1])
    certificate: list[str] = []
    if kind == "certificate":
        (bobs,) = processes("bob", site.stub)
        own = environment_of(bobs)
        certificate = [own["JUPYTERHUB_SSL_KEYFILE"], own["JUPYTERHUB_SSL_CERTFILE"]]
    # Without the agent's report the gateway still believes in alice's server.
    os.kill(agent, signal.SIGSTOP)
    try:
        os.kill(stub, signal.SIGKILL)
        with squatting(site, port, *certificate) as kept:
            for path in ("/user/alice/", "/user/alice/api"):
                answer = site.hub.api.get(path, headers={"Cookie": f"x={SECRET}"})
                assert answer.status_code == 503
                assert "bob's" not in answer.text
            site.wait_for("the edge has tried", kept.exists)
            got = kept.read_bytes()
        assert got
        assert SECRET.encode() not in got
        for word in (b"GET ", b"HTTP/1", b"Authorization", b"token"):
            assert word not in got
    finally:
        os.kill(agent, signal.SIGCONT)
    # Her server is started again in its job, where bob was.
    site.wait_for("alice's server is back", lambda: site.hub.answers("alice"))
    assert site.hub.server("alice")["state"] == "ready"
    assert site.hub.answers("bob")
