"""Rigs with namespaces and with cgroups."""

import http.client
from pathlib import Path

import pytest

from rigs.slurm.cluster import Cluster
from rigs.slurm.daemons import wait_for
from rigs.slurm.machines import Machines

pytestmark = [pytest.mark.slurm, pytest.mark.root]

SERVER = "exec python3 -m http.server --directory / 8888"


def answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, 8888, timeout=2)
    try:
        connection.request("HEAD", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_a_machine_is_reached_by_its_own_address_until_unplugged(
    machines: Machines,
) -> None:
    job = machines.submit(SERVER, "--nodelist=m3", user="alice")
    machines.wait_state(job, "RUNNING")
    address = machines.address("m3")
    wait_for(lambda: answers(address), 20, "the job's server")
    assert not answers("127.0.0.1")
    assert not answers(machines.address("m1"))
    machines.unplug("m3")
    assert not answers(address)
    machines.repair()
    wait_for(lambda: answers(address), 20, "the job's server")
    assert machines.state(job) == "RUNNING"


def test_too_much_memory_is_told_as_such(slurm_cgroups: Cluster) -> None:
    script = "python3 -c 'x = bytearray(300 * 1024**2)'"
    job = slurm_cgroups.submit(script, "--mem=60", user="alice")
    ends = ("COMPLETED", "FAILED", "OUT_OF_MEMORY")
    assert slurm_cgroups.wait_state(job, *ends) == "OUT_OF_MEMORY"


def test_cgroups_are_gone_afterwards() -> None:
    assert not list(Path("/sys/fs/cgroup").glob("*/slurm_n4"))
