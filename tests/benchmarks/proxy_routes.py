"""Time from asking for a route until a request is served by it.

    python tests/benchmarks/proxy_routes.py

With 1, 200 and 2,000 routes in the proxy, one more is added and used at once. The
clock runs from the call that adds it to the end of the first right answer.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from proxy_peers import Peer, install, peers, quantile, stamp, table

SIZES = (1, 200, 2000)
SAMPLES = {"Traefik (file provider)": 12}
BODY = b"origin"
CONTROL = "(a route that was there)"
TARGET_P99_SECONDS = 0.020


async def origin() -> asyncio.Server:
    """A server that answers every request alike."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(BODY), BODY)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def measure(
    running: list[Peer], target: str, size: int, samples: int
) -> dict[str, list[float]]:
    """Seconds until usable by proxy, with ``size`` routes before.

    The proxies take turns, so that a busy moment of the machine meets all of them.
    ``CONTROL`` is a request for a route that was there already: what the machine
    and the client cost without any change of routes.
    """
    took: dict[str, list[float]] = {CONTROL: []}
    for peer in running:
        await peer.preload({f"/user/{size}-{n}/": target for n in range(size)})
    for number in range(samples):
        path = f"/user/new-{size}-{number}/"
        for peer in running:
            if number < SAMPLES.get(peer.name, samples):
                began = time.perf_counter()
                await peer.add(path, target)
                async with asyncio.timeout(30):
                    await peer.ready(path, BODY)
                took.setdefault(peer.name, []).append(time.perf_counter() - began)
        began = time.perf_counter()
        await running[0].ready(f"/user/{size}-0/", BODY)
        took[CONTROL].append(time.perf_counter() - began)
    return took


async def main(samples: int, names: list[str]) -> int:
    """Measure all and print a table; 1 if our own target is missed."""
    install()
    missed = 0
    rows = []
    server = await origin()
    target = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for size in SIZES:
        async with peers(names) as running:
            took = await measure(running, target, size, samples)
        base = quantile(took[running[0].name], 0.5)
        for name, values in took.items():
            p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
            row = [f"{size:,}", name, str(len(values))]
            row += [f"{p50 * 1e3:.2f}", f"{p99 * 1e3:.2f}", f"{p50 / base:.1f}x"]
            rows.append(row)
            if name.startswith("Landbridge"):
                missed |= p99 >= TARGET_P99_SECONDS
    server.close()
    print(stamp())
    print(table(["routes", "proxy", "samples", "p50 ms", "p99 ms", "p50 ratio"], rows))
    if missed:
        print(f"p99 is over {TARGET_P99_SECONDS * 1e3:.0f} ms; compare with {CONTROL}")
    return int(missed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument(
        "--peers", nargs="+", default=["ours", "chp", "traefik"], metavar="NAME"
    )
    arguments = parser.parse_args()
    raise SystemExit(asyncio.run(main(arguments.samples, arguments.peers)))
