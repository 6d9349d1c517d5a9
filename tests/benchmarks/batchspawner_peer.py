"""A plain JupyterHub with batchspawner and configurable-http-proxy, as it ships.

It has an environment of its own, made once where every account can run it: its
servers are alice's jobs.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import httpx
from proxy_peers import cache, peer_environment

from rigs.hub.process import free_port, until
from rigs.slurm.cluster import Cluster

_ENVIRONMENT = Path("/var/tmp/landbridge-batchspawner-peer")
_PACKAGES = [
    f"{name}=={version(name)}"
    for name in ("jupyterhub", "jupyterlab", "ipykernel", "batchspawner")
]


def environment() -> Path:
    """Return the peer's environment, with our own versions of what both use."""
    stamp = _ENVIRONMENT / "installed.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(_PACKAGES):
        print(f"Installing batchspawner into {_ENVIRONMENT} ...", file=sys.stderr)
        shutil.rmtree(_ENVIRONMENT, ignore_errors=True)
        subprocess.run(["/usr/bin/python3", "-m", "venv", _ENVIRONMENT], check=True)
        pip = [_ENVIRONMENT / "bin" / "pip", "install", "--quiet", *_PACKAGES]
        subprocess.run(pip, check=True)
        stamp.write_text("\n".join(_PACKAGES))
    return _ENVIRONMENT


_CONFIG = """
import batchspawner  # registers its own API
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = {command!r}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
c.JupyterHub.db_url = "sqlite:///{place}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{place}/cookie"
c.ConfigurableHTTPProxy.pid_file = "{place}/proxy.pid"
c.BatchSpawnerBase.req_memory = "{memory}"
c.BatchSpawnerBase.req_runtime = "20"
c.BatchSpawnerBase.batchspawner_singleuser_cmd = "{prefix}/bin/batchspawner-singleuser"
c.Spawner.cmd = ["{server}"]
c.JupyterHub.allow_named_servers = True
c.JupyterHub.concurrent_spawn_limit = 0
c.Spawner.start_timeout = 600
c.Spawner.http_timeout = 600
c.Spawner.environment = {{
    "PATH": "{prefix}/bin:/usr/bin:/bin", "SLURM_CONF": "{slurm_conf}"
}}
c.BatchSpawnerBase.exec_prefix = "sudo -E -u {{username}} env PATH={path}"
c.SlurmSpawner.req_srun = ""
c.SlurmSpawner.state_exechost_exp = "127.0.0.1"  # node names do not resolve
c.JupyterHub.services = [{{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    {{"name": "bench", "services": ["bench"],
      "scopes": ["admin:users", "admin:servers", "access:servers"]}}
]
"""


class BatchspawnerHub:
    """The peer, running inside ``with``; ``api`` speaks to it as an administrator.

    Args:
        server: a Python program to run in JupyterLab's place.
        tools: a directory with Slurm's commands, to be found before the real ones.
    """

    def __init__(
        self,
        place: Path,
        rig: Cluster,
        user: str,
        memory: str,
        *,
        server: str = "",
        tools: Path | None = None,
    ) -> None:
        self.place, self.user = place, user
        place.mkdir(parents=True)
        token = secrets.token_hex(16)
        port = free_port()
        # sudo sets a PATH of its own: the commands that are counted are named to it.
        path = f"{tools}:/usr/local/bin:/usr/bin:/bin" if tools else "/usr/bin:/bin"
        config = _CONFIG.format(
            path=path,
            port=port,
            hub_port=port + 1,
            proxy_port=port + 2,
            command=[str(cache() / "npm/node_modules/.bin/configurable-http-proxy")],
            place=place,
            memory=memory,
            prefix=environment(),
            server=server or f"{environment()}/bin/jupyterhub-singleuser",
            token=token,
            slurm_conf=rig.environment["SLURM_CONF"],
        )
        (place / "jupyterhub_config.py").write_text(config)
        self.environment = {**peer_environment(), **rig.environment}
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"token {token}"},
            trust_env=False,
            timeout=60,
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> BatchspawnerHub:
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    _ENVIRONMENT / "bin" / "jupyterhub",
                    "-f",
                    "jupyterhub_config.py",
                ],
                cwd=self.place,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(
            "the peer answers",
            lambda: self.api.get("/hub/api/").status_code == 200,
            seconds=60,
        )
        self.api.post(f"/hub/api/users/{self.user}").raise_for_status()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
        if error is not None:
            sys.stderr.write((self.place / "log").read_text()[-4000:])
        self.api.close()
