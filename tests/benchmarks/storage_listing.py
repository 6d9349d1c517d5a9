"""List one prefix to its end: our client, boto3 and peers, same store, same run.

    python tests/benchmarks/storage_listing.py            # 100,000 keys
    python tests/benchmarks/storage_listing.py --keys 1000000 --rounds 1 --peers PYTHON

PYTHON is of an environment with jupyter-fs, jupyterlab-bucket-explorer and s3fs. Each
reader is a process of its own, so that its peak memory is its own; they take turns.
Exit code 1 if ours is not three times as fast as boto3.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from services.storage.s3.client import S3Client
from services.storage.s3.signing import Presigner
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import AccessKey
from services.storage.site.embedded import EmbeddedStore
from services.storage.site.embedded_files import EmbeddedSettings

BUCKET = "benchmark"
PREFIX = "data/"
WRITERS = 48
TARGET = 3.0
PATIENCE_SECONDS = 1500
OWN = ("ours", "boto3")
PEERS = ("bucket-explorer", "jupyter-fs")


async def read_ours(endpoint: str, key: AccessKey) -> dict[str, float]:
    client = S3Client(StoreAddress(endpoint), key)
    began, first, count = time.perf_counter(), 0.0, 0
    async for page in client.pages(BUCKET, PREFIX):
        first = first or time.perf_counter() - began
        count += len(page.objects)
    whole = time.perf_counter() - began
    await client.close()
    return {"first": first, "whole": whole, "count": count}


def read_boto3(endpoint: str, key: AccessKey) -> dict[str, float]:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret_key,
    )
    began, first, count = time.perf_counter(), 0.0, 0
    pages = client.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=BUCKET, Prefix=PREFIX):
        first = first or time.perf_counter() - began
        count += len(page.get("Contents", []))
    return {"first": first, "whole": time.perf_counter() - began, "count": count}


async def fill(client: S3Client, endpoint: str, keys: int) -> None:
    """Write the keys by bare sockets, or it takes for ever."""
    await client.buckets.create(BUCKET)
    assert client.transport.key is not None
    presigner = Presigner(client.transport.key, "us-east-1", endpoint)
    hour = timedelta(hours=1)
    host, _, port = endpoint.removeprefix("http://").partition(":")
    numbers = iter(range(keys))

    async def write() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in numbers:
            url = presigner.put(BUCKET, f"{PREFIX}{number:09}.parquet", hour).url
            writer.write(
                f"PUT {url.removeprefix(endpoint)} HTTP/1.1\r\n"
                f"Host: {host}:{port}\r\nContent-Length: 16\r\n\r\n"
                "0123456789abcdef".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    print(f"wrote {keys} keys in {time.perf_counter() - began:.0f} s", flush=True)


def reader(
    name: str, endpoint: str, key: AccessKey, peers: str
) -> dict[str, float] | None:
    """Run the reader ``name`` in a process of its own; ``None`` if it gave up."""
    secret: list[str] = [endpoint, key.access_key, key.secret_key]
    words = [sys.executable, __file__, "--reader", name]
    if name not in OWN:
        words = [peers, str(Path(__file__).with_name("storage_listing_peers.py")), name]
        secret.append(f"{BUCKET}/{PREFIX.rstrip('/')}")
    try:
        done = subprocess.run(
            words,
            input=json.dumps(secret),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"{name} was not done after {PATIENCE_SECONDS} s", flush=True)
        return None
    if done.returncode:
        print(f"{name} failed: {done.stderr[-500:]}", flush=True)
        return None
    return json.loads(done.stdout)


def be_reader(name: str) -> None:
    endpoint, access, secret = json.load(sys.stdin)
    key = AccessKey(access, secret)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    before = usage.ru_utime + usage.ru_stime
    if name == "boto3":
        facts = read_boto3(endpoint, key)
    else:
        facts = asyncio.run(read_ours(endpoint, key))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    facts["memory"] = usage.ru_maxrss / 1024
    facts["cpu"] = usage.ru_utime + usage.ru_stime - before
    print(json.dumps(facts))


async def main(keys: int, rounds: int, peers: str) -> int:
    names = (*OWN, *(PEERS if peers else ()))
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="lbbench-") as folder:
        store = EmbeddedStore(EmbeddedSettings(Path(folder) / "store"))
        access = await store.start()
        client = S3Client(StoreAddress(access.endpoint), access.key)
        try:
            await fill(client, access.endpoint, keys)
            best: dict[str, dict[str, float]] = {}
            for _ in range(rounds):
                for name in names:
                    facts = await asyncio.to_thread(
                        reader, name, access.endpoint, access.key, peers
                    )
                    if facts is None:
                        continue
                    assert facts["count"] == keys, (name, facts)
                    print(name, facts, flush=True)
                    if name not in best or facts["whole"] < best[name]["whole"]:
                        best[name] = facts
        finally:
            await client.close()
            await store.stop()
    print(f"| {keys} keys | first page ms | whole s | peak MB | CPU s | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    base = best["boto3"]["whole"]
    for name, facts in best.items():
        print(
            f"| {name} | {facts['first'] * 1000:.0f} | {facts['whole']:.1f} "
            f"| {facts['memory']:.0f} | {facts['cpu']:.1f} "
            f"| {base / facts['whole']:.1f}x |"
        )
    return 0 if base / best["ours"]["whole"] >= TARGET else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peers", default="", help="Python that has the peers")
    parser.add_argument("--reader", choices=OWN)
    arguments = parser.parse_args()
    if arguments.reader:
        be_reader(arguments.reader)
    else:
        sys.exit(asyncio.run(main(arguments.keys, arguments.rounds, arguments.peers)))
