"""A gateway on a real Slurm whose commands can be made to lie, and what must hold."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from rigs.hub.process import PASSWORD, HubProcess, running_hub, until
from rigs.slurm.cluster import Cluster

USERS = ("alice", "bob")
COMMANDS = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo")

SETTINGS = """\
[hub]
named_servers = 300
[jobs]
address = "127.0.0.1"
munge_socket = "{socket}"
proof = "munge"
profiles = "profiles.yaml"
[scheduler]
fast_poll = 0.5
slow_poll = 1
command_timeout = 25
[culling]
enabled = false
[storage]
enabled = false
"""

PROFILES = """\
profiles:
  stub:
    title: Stub
    default: true
    resources: {{cpus: 1, memory: 100 MB, time_limit: 20min}}
    prologue: export LANDBRIDGE_PYTHON={stub}
  lab:
    title: JupyterLab
    resources: {{cpus: 1, memory: 600 MB, time_limit: 20min}}
  brief:
    title: One minute
    resources: {{cpus: 1, memory: 100 MB, time_limit: 1min}}
    prologue: export LANDBRIDGE_PYTHON={stub}
  low:
    title: Preemptible
    resources: {{cpus: 1, memory: 100 MB, time_limit: 20min, partition: kill}}
    prologue: export LANDBRIDGE_PYTHON={stub}
  custom:
    title: Custom
    resources: {{cpus: 1, memory: 100 MB, time_limit: 20min}}
    prologue: export LANDBRIDGE_PYTHON={stub}
    choices:
      cpus: {{min: 1, max: 4}}
      memory: {{min: 50M, max: 4G}}
      gpus: {{min: 0, max: 2}}
      gpu_model: any
      time_limit: {{min: 1min, max: 1h}}
      partition: any
      account: any
      qos: any
      reservation: any
"""

_WRAPPER = """\
#!/bin/sh
echo x >> {dir}/calls/{name}
[ -r {dir}/mode/{name} ] && . {dir}/mode/{name}
exec {real} "$@"
"""


class Tools:
    """Slurm's commands as the hub finds them: the real ones, until told otherwise."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for part in ("", "bin", "mode", "calls", "kept"):
            (directory / part).mkdir(exist_ok=True)
        for shared in ("calls", "kept"):
            (directory / shared).chmod(0o1777)
        for name in COMMANDS:
            real = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
            file = directory / "bin" / name
            file.write_text(_WRAPPER.format(dir=directory, name=name, real=real))
            file.chmod(0o755)
            calls = directory / "calls" / name
            calls.touch()
            calls.chmod(0o666)

    @contextmanager
    def do(self, name: str, shell: str) -> Iterator[None]:
        """Run ``shell`` in place of (or before) a command, for a block."""
        mode = self.directory / "mode" / name
        part = mode.with_suffix(".part")
        part.write_text(shell + "\n")
        part.rename(mode)
        try:
            yield
        finally:
            mode.unlink()

    def calls(self, name: str) -> int:
        """How often a command was run."""
        return (self.directory / "calls" / name).stat().st_size // 2

    def repair(self) -> None:
        """Let every command be itself again."""
        for mode in (self.directory / "mode").iterdir():
            mode.unlink()


class FaultSite:
    """The gateway, its Slurm, its commands; and what is true of all three."""

    def __init__(self, hub: HubProcess, slurm: Cluster, tools: Tools) -> None:
        self.hub, self.slurm, self.tools = hub, slurm, tools
        self._old: set[str] = set()

    # -- what there is ---------------------------------------------------------------

    @property
    def stub(self) -> str:
        """Path of this site's stub server: its processes are known by it."""
        return str(self.tools.directory.parent / "stub_server.py")

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the batch core's database, from outside."""
        file = self.hub.state / "db" / "jobs.sqlite"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return database.execute(sql, values).fetchall()

    def live_records(self) -> dict[str, str]:
        """Job name to owner of every start that has not ended."""
        return dict(
            self.query(
                "select name, owner from landbridge_jobs"
                " where phase in ('intent', 'submitted')"
            )
        )

    def begin(self) -> None:
        """Count from here on."""
        self._old = {name for (name,) in self.query("select name from landbridge_jobs")}

    def names(self, owner: str) -> list[str]:
        """Names of all jobs that this test wrote down for a server, ended or not."""
        rows = self.query("select name from landbridge_jobs where owner = ?", owner)
        return sorted(name for (name,) in rows if name not in self._old)

    def live_jobs(self, user: str = "") -> list[str]:
        """Names of the gateway's jobs that wait or run, twice where there are two."""
        listing = self.slurm.admin("squeue", "-h", "-r", "-o", "%j|%u|%T")
        rows = [line.split("|") for line in listing.splitlines()]
        return sorted(
            name
            for name, owner, _ in rows
            if name.startswith("lb-") and user in ("", owner)
        )

    def read_at(self, name: str) -> str:
        """When the jobs service last read the state of a job, as ISO 8601.

        Clients are told of what changed, not of each reading.
        """
        token = (self.hub.state / "secrets" / "jobs-hub.token").read_text().strip()
        socket = str(self.hub.state / "run" / "jobs.sock")
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket)) as client:
            answer = client.get(
                f"http://jobs/v1/jobs/{name}",
                headers={"Authorization": f"Bearer {token}"},
            )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["entry"]["record"]["status"]["read_at"])

    def log(self) -> str:
        """All that hub and HAProxy have said."""
        return self.hub.log.read_text(errors="replace")

    # -- what users do ---------------------------------------------------------------

    def start(self, user: str, name: str = "", profile: str = "stub") -> None:
        self.hub.start_server(user, name, {"profile": profile})

    def ready(self, user: str, name: str = "", profile: str = "stub") -> dict[str, Any]:
        """Start a server and wait until it answers through the edge."""
        self.start(user, name, profile)
        server = self.wait_ready(user, name)
        until("it answers", lambda: self.hub.answers(user, name))
        return server

    def wait_ready(self, user: str, name: str = "") -> dict[str, Any]:
        server = self.hub.wait_state(user, "ready", "failed", name=name, seconds=90)
        assert server["state"] == "ready", server
        return dict(server)

    def marked_stopped(self, user: str, name: str = "") -> bool:
        """Whether JupyterHub itself knows that the server has gone."""
        server = self.hub.call("GET", f"users/{user}")["servers"].get(name)
        return server is None or not (server["ready"] or server["pending"])

    def routes(self) -> dict[str, str]:
        """Route to target of everything that the proxy serves to users."""
        shown = self.hub.call("GET", "proxy")
        return {
            path: json.dumps(route)
            for path, route in shown.items()
            if path.startswith("/user/")
        }

    def clear(self) -> None:
        """Stop every server, and wait until nothing of them is left."""
        for user in USERS:
            for name in self.hub.call("GET", f"users/{user}")["servers"]:
                self.hub.stop_server(user, name)
        self.wait_for("no record is live", lambda: not self.live_records())
        self.slurm.clear_jobs()

    # -- what must always hold -------------------------------------------------------

    def wait_for(self, what: str, fact: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait for a fact; with the hub's last words if it does not come true."""
        try:
            return until(what, fact, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.hub.words()}") from None

    def check(self) -> None:
        """Jobs are records, records are jobs, and each route has one behind it."""

        def agree() -> bool:
            return self.live_jobs() == sorted(self.live_records())

        try:
            self.wait_for("every live job has a live record, and no other", agree)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\njobs {self.live_jobs()}\nrecords {self.live_records()}"
            ) from None
        assert self.query("pragma integrity_check") == [("ok",)]
        owners = self.query(
            "select owner, count(*) from landbridge_jobs"
            " where phase in ('intent', 'submitted') group by owner having count(*) > 1"
        )
        assert owners == []

        def routed() -> bool:
            live = self.live_records()
            return all(
                any(name in route for name in live) for route in self.routes().values()
            )

        self.wait_for("every route leads to a live job", routed)


@contextmanager
def fault_site(
    directory: Path, slurm: Cluster, settings_text: str = SETTINGS
) -> Iterator[FaultSite]:
    """A gateway as root on ``slurm``, with alice and bob in it."""
    tools = Tools(directory / "tools")
    stub = directory / "stub_server.py"
    shutil.copy(Path(__file__).with_name("stub_server.py"), stub)
    stub.chmod(0o755)
    settings = directory / "gateway.toml"
    settings.write_text(settings_text.format(socket=slurm.munge_socket))
    (directory / "profiles.yaml").write_text(PROFILES.format(stub=stub))
    path = f"{tools.directory / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    with running_hub(
        directory,
        # These tests start, and are refused, more often than a person does.
        "--AccountRule.starts_at_once=100000",
        LANDBRIDGE_CONFIG=str(settings),
        LANDBRIDGE_SCHEDULER="slurm",
        PATH=path,
        **slurm.environment,
    ) as hub:
        site = FaultSite(hub, slurm, tools)
        for user in USERS:
            hub.add_user(user)
        try:
            yield site
        finally:
            tools.repair()
            slurm.repair()


@contextmanager
def signed_in(site: FaultSite, user: str) -> Iterator[httpx.Client]:
    """A browser without a window, in which ``user`` has signed in."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{site.hub.port}",
        trust_env=False,
        follow_redirects=True,
        timeout=30,
    ) as browser:
        page = browser.get("/hub/login").text
        token = re.search(r'name="_xsrf" value="([^"]*)"', page)
        assert token
        browser.post(
            "/hub/login",
            data={"username": user, "password": PASSWORD, "_xsrf": token[1]},
        )
        assert browser.get("/hub/home").status_code == 200
        yield browser
