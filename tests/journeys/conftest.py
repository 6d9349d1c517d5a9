"""One Slurm, one gateway and one browser for all of these tests."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rigs.browser.browser import PROGRAMS, Browser, chromium
from rigs.browser.gateway import PROFILES, gateway
from rigs.browser.storage_page import StoragePage
from rigs.browser.stored import Stored
from rigs.homes import Homes
from rigs.hub.fixtures import hub
from rigs.hub.process import PASSWORD, HubProcess, until
from rigs.slurm.cluster import Cluster

# Long enough for a page that asks four times a minute to see the warning.
KERNELS = """
[kernels]
idle_after = "32s"
idle_warning = "16s"
"""
# Shorter than a test may wait for what is said of a store that stands still.
STORAGE = """
[storage]
store_timeout = "15s"
"""
NVIDIA_SMI = """#!/bin/sh
echo "0, $(cat {0}/percent), 1024, 40960"
"""


@dataclass(frozen=True)
class Site:
    """The gateway that a test looks at, with what is behind it."""

    hub: HubProcess
    slurm: Cluster
    tools: Path

    def compute(self, percent: int) -> None:
        """Have the GPUs of kernels with "1 GPU" do so much."""
        (self.tools / "percent").write_text(f"{percent}\n")

    def queue(self) -> list[str]:
        """``id user state`` of every job in the queue."""
        return self.slurm.admin("squeue", "-h", "-o", "%i %u %T").splitlines()

    def jobs(self, user: str) -> list[str]:
        """The ids of a user's jobs that are in the queue."""
        return [line.split()[0] for line in self.queue() if f" {user} " in line]

    def fill(self, *nodes: str) -> int:
        """Take these nodes whole, as bob; return the job's id."""
        wanted = f"-N{len(nodes)} -p short -t 10 --exclusive -w {','.join(nodes)}"
        job = self.slurm.submit("sleep 600", *wanted.split(), user="bob")
        self.slurm.wait_state(job, "RUNNING")
        return job

    def clear(self) -> None:
        """Stop every server and end every job."""
        for user in ("alice", "bob"):
            for name in self.hub.call("GET", f"users/{user}")["servers"]:
                self.hub.stop_server(user, name)
        self.slurm.clear_jobs()
        until(
            "no server is left",
            lambda: (
                not any(
                    self.hub.call("GET", f"users/{user}")["servers"]
                    for user in ("alice", "bob")
                )
            ),
        )


@pytest.fixture(scope="session")
def running_site(slurm_rig: Cluster, people: object) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="lbweb-", dir="/var/tmp"))
    directory.chmod(0o755)
    try:
        tools = directory / "tools"
        tools.mkdir()
        (tools / "nvidia-smi").write_text(NVIDIA_SMI.format(tools))
        (tools / "nvidia-smi").chmod(0o755)
        path = f"    prologue: export PATH={tools}:$PATH\n    requires: gpu\n"
        profiles = PROFILES.replace("    requires: gpu\n", path)
        socket, environment = slurm_rig.munge_socket, slurm_rig.environment
        with gateway(
            directory, socket, environment, profiles, KERNELS + STORAGE
        ) as hub:
            for user in ("alice", "bob"):
                hub.add_user(user)
            yield Site(hub, slurm_rig, tools)
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def running_browser(
    running_site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: chromium chromium-driver)")
    home = f"http://127.0.0.1:{running_site.hub.port}"
    with chromium(tmp_path_factory.mktemp("browser"), home) as browser:
        yield browser


@pytest.fixture
def site(running_site: Site, homes: Homes) -> Iterator[Site]:
    """The gateway with alice and bob, without servers and jobs, in empty homes."""
    running_site.slurm.repair()
    running_site.clear()
    homes.empty()
    running_site.compute(37)
    yield running_site
    with contextlib.suppress(AssertionError):
        running_site.clear()  # the next test's own clearing tells if it cannot be


@pytest.fixture
def web(site: Site, running_browser: Browser) -> Iterator[Browser]:
    """A browser of ordinary size in which alice is signed in."""
    browser = running_browser
    browser.size(1280, 900)
    browser.sign_in("alice", PASSWORD)
    yield browser
    browser.close_others()
    browser.open("/hub/health")


@pytest.fixture(scope="session")
def alice_stored(running_site: Site) -> Iterator[Stored]:
    stored = Stored(running_site.hub, "alice")
    yield stored
    stored.close()


@pytest.fixture
def stored(alice_stored: Stored) -> Stored:
    """Alice's bucket, empty."""
    alice_stored.empty()
    return alice_stored


@pytest.fixture
def page(web: Browser, stored: Stored) -> Iterator[StoragePage]:
    """Her storage page, at that bucket."""
    page = StoragePage(web)
    page.open()
    yield page
    page.forget()
