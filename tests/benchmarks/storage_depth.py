"""The first page of one prefix, a jump into it and a search in it, as the prefix grows.

    python tests/benchmarks/storage_depth.py                       # to 1,000,000 keys
    python tests/benchmarks/storage_depth.py --stages 10000 10000000

By our client from the embedded store. Millions of uploads would take hours, so the
keys are put into the store's own metadata by its shell, which may because it runs in
the store's directory, where its certificates are. Each stage is read by a process of
its own: its time is the median of many pages, its memory the peak. Ratios are against
the first stage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from services.storage.embedded import EmbeddedStore, weed_program
from services.storage.embedded_files import EmbeddedSettings, Ports
from services.storage.objects import AccessKey
from services.storage.s3 import S3Client
from services.storage.transport import StoreAddress

BUCKET = "benchmark"
PREFIX = "data/"
PAGES = 40
WAYS = ("first page", "jump", "search")


def name_of(number: int) -> str:
    return f"{number:09}.parquet"


# -- filling: FullEntry, Entry and FuseAttributes of SeaweedFS's filer.proto ------


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def records(start: int, end: int) -> Iterator[bytes]:
    """Objects of 16 bytes, each behind its length."""
    now = int(time.time())
    folder = field(1, f"/buckets/{BUCKET}/{PREFIX.rstrip('/')}".encode())
    facts = field(1, 16) + field(2, now) + field(3, 0o660) + field(6, now)
    rest = field(4, facts) + field(9, b"0123456789abcdef")
    for number in range(start, end):
        entry = field(1, name_of(number).encode()) + rest
        record = folder + field(2, entry)
        yield struct.pack(">I", len(record)) + record


def fill(store: Path, start: int, end: int) -> None:
    """Put the keys from ``start`` to before ``end`` into the store."""
    ports = Ports.from_json(json.loads((store / "ports.json").read_text()))
    pipe = store / "fill.pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=2**20) as file:
            file.writelines(records(start, end))

    thread = threading.Thread(target=write)
    thread.start()
    began = time.perf_counter()
    command = [weed_program(), "shell", f"-master=127.0.0.1:{ports.master}"]
    done = subprocess.run(
        command,
        cwd=store,
        input=f"fs.meta.load -v=false -concurrency=64 {pipe}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    thread.join(10)
    pipe.unlink()
    if done.returncode or thread.is_alive():
        raise RuntimeError(done.stdout[-500:] + done.stderr[-500:])
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
            await client.put(BUCKET, f"{PREFIX}{name_of(0)}", b"0123456789abcdef")
            before = 1
            for keys in stages:
                await asyncio.to_thread(fill, directory, before, keys)
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
