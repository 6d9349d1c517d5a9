"""How long 1,000 websockets that were left stay in the edge, with its real times.

    python tests/benchmarks/abandoned_websockets.py

A third of the clients stopped without a word, a third said that they will send no more,
and a third belong to a server that is silent itself. The server pings every 30 s and
closes after three misses, as Jupyter does. Two websockets in use must stay. Exit code 1
if any was there after ten minutes, or one in use was closed. Takes about six minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from proxy_peers import ours, stamp

sys.path.append(str(Path(__file__).resolve().parents[1]))
from rigs.edge.abandoned import (
    KINDS,
    Live,
    PingingServer,
    abandon,
    descriptors,
    raise_limit,
    reset,
)

_LIMIT_SECONDS = 600


async def main(count: int) -> int:
    """Leave ``count`` websockets and print when they were gone."""
    raise_limit(4 * count + 1000)
    server = PingingServer(30)
    await server.start()
    with tempfile.TemporaryDirectory(prefix="lbws-") as directory:
        async with ours(Path(directory)) as peer:
            proxy = peer.proxy
            # One server would not get so many.
            peer.told["connections_per_server"] = 2 * count
            await peer.haproxy.reload()
            target = f"http://127.0.0.1:{server.port}"
            await proxy.add_route("/user/alice/", target, {})
            live = [Live(peer.port) for _ in range(2)]
            tasks = [asyncio.create_task(one.run()) for one in live]
            await asyncio.sleep(1)
            before = descriptors(peer.haproxy.pid)
            kinds = [KINDS[number % len(KINDS)] for number in range(count)]
            left = await asyncio.gather(*(abandon(peer.port, k) for k in kinds))
            most, began = descriptors(peer.haproxy.pid), time.monotonic()
            while (now := descriptors(peer.haproxy.pid)) > before + 5:
                if time.monotonic() - began > _LIMIT_SECONDS:
                    break
                await asyncio.sleep(1)
            took = time.monotonic() - began
            print(stamp())
            print(f"HAProxy's descriptors: {before}, {most} with {count} left, {now}")
            print(f"the last was gone after {took:.0f} s")
            closed = sum(one.closed for one in live)
            print(f"in use: {len(live)}, closed of them: {closed}")
            for task in tasks:
                task.cancel()
            await reset(left)
    await server.stop()
    return int(took > _LIMIT_SECONDS or closed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    sys.exit(asyncio.run(main(parser.parse_args().count)))
