"""One large object through ``/s3/`` and straight to the store, same client, same run.

    python tests/benchmarks/storage_transfers.py            # 1 GiB
    python tests/benchmarks/storage_transfers.py --size 256 # MiB

Starts a whole gateway. The client is curl with presigned URLs, as a browser has them:
through the gateway by the REST API, and straight to the embedded store (its port as
root, else its socket) by keys that the same API gave. Both ways take turns, and the
median of each counts: a single download on two cores varies by a third. Exit code 1 if
``/s3/`` has less than 0.8 of the direct speed in either direction.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from rigs.hub.process import HubProcess, running_hub, until
from services.storage.s3.signing import Presigner
from services.storage.s3.values import AccessKey

TARGET = 0.8
API = "/services/storage/api/v1"
HOUR = timedelta(hours=1)
WAYS = ("direct", "/s3/")


def curl(*words: str) -> float:
    """Run curl and return bytes per second."""
    form = "%{http_code} %{size_upload} %{size_download} %{time_total}"
    done = subprocess.run(
        ["curl", "-sS", "-o", "/dev/null", "-w", form, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    status, up, down, seconds = done.stdout.split()
    if status != "200":
        raise RuntimeError(f"curl got {status}")
    return max(float(up), float(down)) / float(seconds)


class Ways:
    """The two ways to the same bucket, as URLs."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub
        hub.add_user("alice")
        token = hub.call("POST", "users/alice/tokens", {})["token"]
        self._headers = {"Authorization": f"Bearer {token}"}
        keys = self._call("POST", "credentials", {})
        key = AccessKey(keys["access_key"], keys["secret_key"], keys["session_token"])
        store = hub.state / "store"
        port = json.loads((store / "ports.json").read_text())["s3"]
        self._direct = Presigner(key, keys["region"], f"http://127.0.0.1:{port}")
        # A port that an ordinary account could bind answers only to the store itself.
        socket = ["--unix-socket", str(store / "sock" / "s3.sock")]
        self._way = [] if port < 1024 else socket

    def _call(self, method: str, path: str, body: object) -> dict[str, object]:
        answer = self._hub.api.request(
            method, f"{API}/{path}", json=body, headers=self._headers
        )
        assert answer.is_success, answer.text
        return answer.json()

    def upload(self, way: str, key: str, size: int) -> list[str]:
        """curl's words for an upload."""
        if way == "direct":
            return [*self._way, self._direct.put("alice", key, HOUR).url]
        wish = {"bucket": "alice", "key": key, "size": size, "overwrite": True}
        signed = self._call("POST", "urls/upload", wish)
        headers = signed["headers"].items()  # type: ignore[attr-defined]
        words = [w for name, text in headers for w in ("-H", f"{name}: {text}")]
        return [*words, str(signed["url"])]

    def download(self, way: str, key: str) -> list[str]:
        """curl's words for a download."""
        if way == "direct":
            return [*self._way, self._direct.get("alice", key, HOUR).url]
        wish = {"bucket": "alice", "key": key}
        return [str(self._call("POST", "urls/download", wish)["url"])]


def measure(ways: Ways, data: Path, rounds: int) -> dict[tuple[str, str], list[float]]:
    """Return bytes per second by direction and way, one for each round.

    An upload takes ten times as long as a download, and varies less.
    """
    size = data.stat().st_size
    speeds: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for way in WAYS:
            if number % 3 == 0:
                upload = curl("-T", str(data), *ways.upload(way, "big", size))
                speeds.setdefault(("upload", way), []).append(upload)
            download = curl(*ways.download(way, "big"))
            speeds.setdefault(("download", way), []).append(download)
    return speeds


def main(size: int, rounds: int) -> int:
    """Measure, print a table, and return the exit code."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="lbbench-") as folder:
        data = Path(folder) / "data"
        with data.open("wb") as file:
            file.truncate(size)
        with running_hub(Path(folder)) as hub:
            health = "/services/storage/health"
            until("storage works", lambda: hub.api.get(health).status_code == 200)
            speeds = measure(Ways(hub), data, rounds)
    print(f"| {size / 2**20:.0f} MiB, MB/s | direct | `/s3/` | ratio | best of each |")
    print("| --- | --- | --- | --- | --- |")
    ratios = []
    for what in ("upload", "download"):
        direct, through = (speeds[what, way] for way in WAYS)
        middle = statistics.median(direct), statistics.median(through)
        ratios.append(middle[1] / middle[0])
        print(
            f"| {what} | {middle[0] / 1e6:.0f} | {middle[1] / 1e6:.0f} | "
            f"{ratios[-1]:.2f} | {max(through) / max(direct):.2f} |"
        )
    return 0 if min(ratios) >= TARGET else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    sys.exit(main(arguments.size * 2**20, arguments.rounds))
