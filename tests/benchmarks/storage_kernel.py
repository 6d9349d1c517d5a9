"""One large object from a kernel: with nothing given, and with keys by hand.

    python tests/benchmarks/storage_kernel.py            # 1 GiB
    python tests/benchmarks/storage_kernel.py --size 256 # MiB

Starts a whole gateway, a notebook server and a kernel in it. There, in turns, obstore
by ``landbridge.storage.store()`` and as its own documentation has it, and rclone
(Debian's) with the remote that every kernel has and with a configuration of its own.
The best round of each counts. Exit code 1 if what takes its keys from the gateway has
less than 0.9 of the speed of the same library with keys by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from rigs.hub.process import hub_of_its_own, until
from rigs.notebooks.on_hub import NotebookServer

TARGET = 0.9
PROGRAM = """
import json, os, subprocess, tempfile, time
from pathlib import Path
import obstore, landbridge.storage
from obstore.store import S3Store

size, rounds = {size}, {rounds}
keys = landbridge.storage.credentials()
bucket = landbridge.storage.place().bucket
endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
by_hand = {{
    "access_key_id": keys.access_key, "secret_access_key": keys.secret_key,
    "session_token": keys.token, "endpoint": endpoint, "region": "us-east-1",
    "virtual_hosted_style_request": False, "client_options": {{"allow_http": True}},
}}
stores = {{
    "obstore, keys by hand": S3Store(bucket, **by_hand),
    "obstore, landbridge.storage": landbridge.storage.store(),
}}
remote = {{
    "TYPE": "s3", "PROVIDER": "Other", "ACCESS_KEY_ID": keys.access_key,
    "SECRET_ACCESS_KEY": keys.secret_key, "SESSION_TOKEN": keys.token,
    "ENDPOINT": endpoint, "REGION": "us-east-1", "NO_CHECK_BUCKET": "true",
}}
own = ("AWS_", "RCLONE_")
others = {{k: v for k, v in os.environ.items() if not k.startswith(own)}}
rclones = {{
    "rclone, keys by hand":
        others | {{f"RCLONE_CONFIG_S3_{{k}}": v for k, v in remote.items()}},
    "rclone, the kernel's remote": dict(os.environ),
}}
found = {{}}

def note(name, what, began):
    rate = size / (time.perf_counter() - began) / 1e6
    found.setdefault(name, {{}}).setdefault(what, []).append(rate)

with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
    data, back = Path(folder, "data"), Path(folder, "back")
    with data.open("wb") as file:
        file.truncate(size)
    for _ in range(rounds):
        for name, store in stores.items():
            began = time.perf_counter()
            obstore.put(store, "big", data, use_multipart=True)
            note(name, "upload", began)
            began = time.perf_counter()
            assert sum(map(len, obstore.get(store, "big").stream())) == size
            note(name, "download", began)
        for name, variables in rclones.items():
            for what, words in (
                ("upload", (data, f"s3:{{bucket}}/big2")),
                ("download", (f"s3:{{bucket}}/big2", back)),
            ):
                back.unlink(missing_ok=True)
                began = time.perf_counter()
                subprocess.run(
                    ["rclone", "--config", os.devnull, "copyto", *words,
                     "--ignore-times", "--s3-disable-checksum"],
                    env=variables, check=True, capture_output=True,
                )
                note(name, what, began)
print("FOUND" + json.dumps(found))
"""


def measure(size: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return MB/s by way and direction, of each round."""
    with hub_of_its_own(storage=True) as hub:
        health = "/services/storage/health"
        until("storage works", lambda: hub.api.get(health).status_code == 200)
        hub.add_user("ann")
        server = NotebookServer(hub, "ann")
        server.start()
        kernel = server.call("POST", "api/kernels", {"name": "python3"})["id"]
        program = PROGRAM.format(size=size, rounds=rounds)
        said = server.run(kernel, program, seconds=1200)
        server.stop()
    _, mark, text = said.partition("FOUND")
    if not mark:
        raise RuntimeError(said[-3000:])
    return dict(json.loads(text))


def main(size: int, rounds: int) -> int:
    """Measure, print a table, and return the exit code."""
    found = measure(size, rounds)
    best = {
        name: {what: max(rates) for what, rates in ways.items()}
        for name, ways in found.items()
    }
    print(f"| {size / 2**20:.0f} MiB, from a kernel | upload MB/s | download MB/s |")
    print("| --- | --- | --- |")
    for name, rates in best.items():
        print(f"| {name} | {rates['upload']:.0f} | {rates['download']:.0f} |")
    names = list(best)
    ratios = []
    for hand, given in (names[:2], names[2:]):
        for what in ("upload", "download"):
            ratios.append(best[given][what] / best[hand][what])
            print(f"{given} against {hand}, {what}: {ratios[-1]:.2f}x")
    return 0 if min(ratios) >= TARGET else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    sys.exit(main(arguments.size * 2**20, arguments.rounds))
