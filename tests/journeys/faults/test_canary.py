"""Secrets of a whole life of a server, looked for in every place that others read."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from rigs.faults.sightings import environment_of, processes, recorded
from rigs.faults.site import FaultSite, signed_in
from rigs.hub.process import ADMIN_TOKEN, PASSWORD

pytestmark = [pytest.mark.slurm, pytest.mark.root]


class Arguments:
    """Samples the arguments of all processes until told to stop."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for entry in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    self.seen.add((entry / "cmdline").read_bytes())

    def __enter__(self) -> Arguments:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_no_secret_is_in_sight_of_others(site: FaultSite) -> None:
    secrets = {"password": PASSWORD, "administrator's token": ADMIN_TOKEN}
    places: dict[str, str] = {}
    with (
        Arguments() as arguments,
        recorded(site) as kept,
        signed_in(site, "alice") as browser,
    ):
        job = site.ready("alice")["job"]["id"]
        for cookie in browser.cookies.jar:
            if cookie.name != "_xsrf":
                secrets[f"cookie {cookie.name}"] = str(cookie.value).strip('"')
        asked = site.hub.call("POST", "users/alice/tokens", {"note": "canary"})
        secrets["alice's token"] = asked["token"]
        (stub,) = processes("alice", site.stub)
        own = environment_of(stub)
        secrets["the server's token"] = own["JUPYTERHUB_API_TOKEN"]
        key = Path(own["JUPYTERHUB_SSL_KEYFILE"]).read_text().splitlines()
        secrets["the server's key"] = key[1]
        # Refusals and faults say more than successes.
        for path in ("/hub/api/users/alice", "/user/alice/api", "/hub/nowhere"):
            browser.get(path, headers={"Authorization": f"token {asked['token']}x"})
            browser.get(path, headers={"Authorization": f"token {asked['token']}"})
        browser.post("/hub/login", data={"username": "alice", "password": PASSWORD})
        slurm = site.slurm
        places["scontrol"] = slurm.admin("scontrol", "show", "job", "-dd", job)
        places["script"] = slurm.admin("scontrol", "write", "batch_script", job, "-")
        fields = ",".join(slurm.admin("sacct", "-e").split())
        places["sacct"] = slurm.admin("sacct", "-P", "-j", job, "-o", fields)
        places["squeue"] = slurm.admin("squeue", "-h", "-j", job, "-O", "All")
        site.hub.stop_server("alice")
        site.hub.wait_state("alice", "stopped")
        site.hub.kill()
        site.hub.start()
        for file in kept.glob("sbatch.*"):
            places[file.name] = file.read_text(errors="replace")
    places["arguments"] = b"\n".join(arguments.seen).decode(errors="replace")
    places["the hub's log"] = site.log()
    for log in (slurm.path / "log").iterdir():
        places[log.name] = log.read_text(errors="replace")
    for log in Path("/home/alice").glob(".landbridge-server*.log"):
        places[log.name] = log.read_text(errors="replace")
    for part in ("haproxy", "log", "logs"):
        for file in (site.hub.state / part).rglob("*"):
            if file.is_file():
                places[str(file)] = file.read_text(errors="replace")
    assert len(places) > 12
    found = [
        f"{what} in {place}"
        for what, secret in secrets.items()
        for place, text in places.items()
        if secret in text
    ]
    assert found == []
    # What bob himself can read of the gateway's files.
    words = "\n".join(secrets.values())
    done = slurm.run(
        ["grep", "-rlaFf", "-", str(site.hub.state.parent)], user="bob", stdin=words
    )
    assert done.stdout == "", done.stdout
