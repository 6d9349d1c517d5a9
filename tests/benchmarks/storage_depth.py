"""The first page of one prefix, a jump into it and a search in it, as the prefix grows.

    python tests/benchmarks/storage_depth.py                       # to 1,000,000 keys
    python tests/benchmarks/storage_depth.py --stages 10000 10000000

By our client from the embedded store, whose keys are put into its own metadata. Each
stage is read by a process of its own: its time is the median of many pages, its memory
the peak. Ratios are against the first stage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from rigs.stores.filling import CONTENT, fill
from services.storage.s3.client import S3Client
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import AccessKey
from services.storage.site.embedded import EmbeddedStore
from services.storage.site.embedded_files import EmbeddedSettings

BUCKET = "benchmark"
PREFIX = "data/"
PAGES = 40
WAYS = ("first page", "jump", "search")


def name_of(number: int) -> str:
    return f"{number:09}.parquet"


def put(store: Path, start: int, end: int) -> None:
    """Put the keys from ``start`` to before ``end`` into the store."""
    began = time.perf_counter()
    folder = PREFIX.rstrip("/")
    fill(store, BUCKET, folder, (name_of(number) for number in range(start, end)))
    took = time.perf_counter() - began
    print(f"{end} keys are there after {took:.0f} s more", flush=True)


# -- reading -------------------------------------------------------------------------


async def read(endpoint: str, key: AccessKey, keys: int) -> dict[str, float]:
    """Milliseconds of a page of 1,000, each way, and the peak memory in MB."""
    client = S3Client(StoreAddress(endpoint), key)
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(PAGES):
        middle = f"{PREFIX}{name_of(keys * (turn + 1) // (PAGES + 2))}"
        for way in WAYS:
            began = time.perf_counter()
            if way == "first page":
                page = await client.list(BUCKET, PREFIX, delimiter="/")
            elif way == "jump":
                page = await client.list(
                    BUCKET, PREFIX, delimiter="/", start_after=middle
                )
            else:
                page = await client.list(BUCKET, middle[:-9], delimiter="/")
            took[way].append(time.perf_counter() - began)
            assert page.objects, (way, middle)
    assert page.token is None
    await client.close()
    facts = {way: statistics.median(times) * 1000 for way, times in took.items()}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {**facts, "memory": usage.ru_maxrss / 1024}


async def main(stages: list[int]) -> int:
    """Print a row a stage; 1 if the last first page takes thrice the first stage."""
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="lbbench-") as folder:
        directory = Path(folder) / "store"
        store = EmbeddedStore(EmbeddedSettings(directory))
        access = await store.start()
        client = S3Client(StoreAddress(access.endpoint), access.key)
        secret = [access.endpoint, access.key.access_key, access.key.secret_key]
        try:
            await client.buckets.create(BUCKET)
            await client.put(BUCKET, f"{PREFIX}{name_of(0)}", CONTENT)
            before = 1
            for keys in stages:
                await asyncio.to_thread(put, directory, before, keys)
                before = keys
                command = [sys.executable, __file__, "--read", str(keys)]
                done = await asyncio.to_thread(
                    subprocess.run,
                    command,
                    input=json.dumps(secret),
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                rows.append(json.loads(done.stdout))
                print(keys, rows[-1], flush=True)
        finally:
            await client.close()
            await store.stop()
    print("| keys | first page ms | jump ms | search ms | peak MB | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    base = rows[0]["first page"]
    for keys, row in zip(stages, rows, strict=True):
        times = " | ".join(f"{row[way]:.1f}" for way in WAYS)
        ratio = row["first page"] / base
        print(f"| {keys:,} | {times} | {row['memory']:.0f} | {ratio:.2f}x |")
    return 0 if rows[-1]["first page"] < 3 * base else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    default = [10_000, 100_000, 1_000_000]
    parser.add_argument("--stages", type=int, nargs="+", default=default)
    parser.add_argument("--read", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.read:
        endpoint, access, secret = json.load(sys.stdin)
        facts = asyncio.run(read(endpoint, AccessKey(access, secret), arguments.read))
        print(json.dumps(facts))
    else:
        sys.exit(asyncio.run(main(arguments.stages)))
