"""Very many keys, put straight into the embedded store's own metadata.

Millions of uploads would take hours. The store's shell may do it, because it runs in
the store's directory, where its certificates are.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from services.storage.site.embedded import weed_program
from services.storage.site.embedded_ports import Ports

CONTENT = b"0123456789abcdef"
"""Of every object."""
_AT_ONCE = 64


def fill(store: Path, bucket: str, folder: str, names: Iterable[str]) -> None:
    """Put an object of 16 bytes under each name in a folder of a bucket.

    Args:
        store: the directory of a store that runs.
        bucket: it must be there.
        folder: of one name; it must be there too.
        names: without slashes.
    """
    pipe = store / "fill.pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=2**20) as file:
            file.writelines(_records(f"/buckets/{bucket}/{folder}", names))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        _shell(store, f"fs.meta.load -v=false -concurrency={_AT_ONCE} {pipe}")
        thread.join(10)
    finally:
        pipe.unlink()


def clear(store: Path, bucket: str, folder: str) -> None:
    """Remove a folder with all that is in it."""
    _shell(store, f"fs.rm -rf /buckets/{bucket}/{folder}")


def _shell(store: Path, line: str) -> None:
    ports = Ports.from_json(json.loads((store / "ports.json").read_text()))
    done = subprocess.run(
        [weed_program(), "shell", f"-master=127.0.0.1:{ports.master}"],
        cwd=store,
        input=f"{line}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or "error:" in done.stdout + done.stderr:
        raise RuntimeError(done.stdout[-500:] + done.stderr[-500:])


# -- FullEntry, Entry and FuseAttributes of SeaweedFS's filer.proto ----------------


def _records(folder: str, names: Iterable[str]) -> Iterator[bytes]:
    """Each entry behind its length.

    The shell ends without waiting for the last that it has begun to write: those are
    the last name again.
    """
    now = int(time.time())
    place = _field(1, folder.encode())
    facts = _field(1, len(CONTENT)) + _field(2, now) + _field(3, 0o660)
    rest = _field(4, facts + _field(6, now)) + _field(9, CONTENT)
    last = ""
    for name in chain(names, (last for _ in range(2 * _AT_ONCE))):
        last = name
        record = place + _field(2, _field(1, name.encode()) + rest)
        yield struct.pack(">I", len(record)) + record


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
