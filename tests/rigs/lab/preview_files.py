"""Objects of every kind that the storage panel previews, good ones and hostile ones.

What needs the formats' own libraries lies in ``recorded/preview.zip``. It was made by
``python preview_files.py`` with pyarrow 26, h5py 3.16, zarr 3.1 and safetensors 0.6.
"""

from __future__ import annotations

import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

STEAL = (
    "try { parent.document.title = 'STOLEN' } catch (e) {}"
    "try { top.postMessage('STOLEN ' + document.cookie, '*') } catch (e) {}"
    "fetch('/hub/api/user').then(a => a.text()).then(t => top.postMessage("
    "'STOLEN ' + t, '*'))"
)
HTML = f"<!doctype html><title>x</title><script>{STEAL}</script><h1>evil</h1>"
EVIL_MARKUP = (
    f'<script>{STEAL}</script><img src=x onerror="{STEAL}">'
    f'<a href="javascript:{STEAL}">x</a><iframe srcdoc="<script>{STEAL}</script>">'
    f"</iframe><form action=/hub/logout><button>y</button></form>"
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30" '
    f'onload="{STEAL}"><script>{STEAL}</script>'
    '<rect width="40" height="30" fill="#0b5cad"/></svg>'
)


def png(width: int, height: int, *, claimed: int = 0) -> bytes:
    """A grey picture, which may claim to be ``claimed`` pixels wide."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", claimed or width, claimed or height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(x % 256 for x in range(width)) for _ in range(height))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def pdf(text: str, filler: bytes = b"") -> bytes:
    """One page with a line of text, and a script that nobody may run.

    ``filler`` lies in between, in a stream that no page needs.
    """
    stream = f"BT /F1 24 Tf 40 100 Td ({text}) Tj ET".encode()
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript "
        b"/JS (app.alert\\(1\\)) >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    if filler:
        size = len(filler)
        parts.insert(3, b"<< /Length %d >>\nstream\n%s\nendstream" % (size, filler))
        page = parts[2].replace(b"/F1 5 0 R", b"/F1 6 0 R")
        parts[2] = page.replace(b"/Contents 4 0 R", b"/Contents 5 0 R")
    out, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    trailer = b"trailer << /Size %d /Root 1 0 R >>\n" % (len(parts) + 1)
    return out + head + table + trailer + b"startxref\n%d\n%%%%EOF\n" % len(out)


def notebook(*sources: str, html: str = "") -> bytes:
    """A notebook with code, and with HTML as a text and as an output."""
    output = {"output_type": "display_data", "data": {"text/html": html}}
    code = [
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "source": source,
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "42\n"}],
        }
        for source in sources
    ]
    code[0]["outputs"].append({**output, "metadata": {}})
    words = {"cell_type": "markdown", "metadata": {}, "source": f"# Title\n\n{html}"}
    whole = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "cells": [words, *code],
    }
    return json.dumps(whole).encode()


def gguf(tensors: int = 1) -> bytes:
    """A header with a text, a list and a tensor; ``tensors`` is what it claims."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    name = text("general.name") + struct.pack("<I", 8) + text("tiny model")
    words = struct.pack("<IIQ", 9, 8, 12) + b"".join(text(f"w{i}") for i in range(12))
    tensor = text("blk.0.weight") + struct.pack("<IQQIQ", 2, 64, 32, 1, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, tensors, 2)
    return head + name + text("tokens") + words + tensor + bytes(4096)


def netcdf() -> bytes:
    """A classic file: one dimension, one attribute, one variable."""

    def name(value: str) -> bytes:
        raw = value.encode()
        return struct.pack(">I", len(raw)) + raw + bytes(-len(raw) % 4)

    dimensions = struct.pack(">II", 10, 1) + name("time") + struct.pack(">I", 3)
    attribute = name("title") + struct.pack(">II", 2, 5) + b"tides" + bytes(3)
    attributes = struct.pack(">II", 12, 1) + attribute
    variable = name("level") + struct.pack(">II", 1, 0)
    variable += struct.pack(">IIIII", 0, 0, 5, 12, 256)
    body = dimensions + attributes + struct.pack(">II", 11, 1) + variable
    return (b"CDF\x01" + struct.pack(">I", 0) + body).ljust(256, b"\0") + bytes(12)


def bad_safetensors() -> bytes:
    """A header that claims to be longer than the file."""
    return struct.pack("<Q", 2**60) + b"{}"


PLAIN = {
    "words.txt": b"Plain words.\n<b>not bold</b>\n",
    "data.json": json.dumps({"name": "tides", "levels": [1, 2, 3]}).encode(),
    "lines.jsonl": b'{"n": 1}\n{"n": 2}\n',
    "table.csv": b"city,people\nBerlin,3755251\nOslo,709037\n",
    "grey.png": png(64, 48),
    "paper.pdf": pdf("Hello from a page"),
    "book.ipynb": notebook("print(6 * 7)", html="<b>bold</b>"),
    "model.gguf": gguf(),
    "tides.nc": netcdf(),
    "bytes.bin": bytes(range(256)),
    "empty.txt": b"",
}
HOSTILE = {
    "evil.html": HTML.encode(),
    "evil.svg": SVG.encode(),
    "evil.ipynb": notebook("1", html=EVIL_MARKUP),
    "bomb.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><g id="a0"><rect/></g>'
    + b"".join(
        b'<g id="a%d">%s</g>' % (i, b'<use href="#a%d"/>' % (i - 1) * 10)
        for i in range(1, 10)
    )
    + b'<use href="#a9"/></svg>',
    "huge.png": png(8, 8, claimed=60_000),
    "cut.png": png(64, 48)[:40],
    "deep.json": b"[" * 200_000,
    "cut.json": b'{"a": [1, 2',
    "cut.pdf": pdf("x")[:60],
    "cut.gguf": gguf()[:40],
    "claims.gguf": gguf(tensors=2**40),
    "claims.safetensors": bad_safetensors(),
    "claims.nc": b"CDF\x01" + struct.pack(">IIII", 0, 10, 2**31, 4),
    "fake.h5": b"\x89HDF\r\n\x1a\n" + bytes(5000),
    "fake.parquet": b"PAR1" + bytes(5000),
    "fake.arrow": b"ARROW1\0\0" + b"\xff" * 5000,
}


def write_library_files(directory: Path) -> None:
    """Write what needs pyarrow, h5py, zarr and safetensors."""
    import h5py
    import numpy as np
    import pyarrow as pa
    import pyarrow.feather as feather
    import pyarrow.parquet as pq
    import zarr
    from safetensors.numpy import save_file

    count = 2000
    table = pa.table(
        {
            "id": pa.array(range(count)),
            "name": pa.array([f"row {i}" for i in range(count)]),
            "value": pa.array([i / 7 for i in range(count)]),
            "tags": pa.array([["a", "b"][: i % 3] for i in range(count)]),
            "when": pa.array(range(count), pa.timestamp("ms")),
            "kind": pa.array([f"k{i % 3}" for i in range(count)]).dictionary_encode(),
        }
    )
    for codec in ("snappy", "zstd", "gzip"):
        pq.write_table(table, directory / f"{codec}.parquet", compression=codec)
    feather.write_feather(table, str(directory / "table.arrow"), "uncompressed")
    for codec in ("lz4", "zstd"):
        feather.write_feather(table, str(directory / f"{codec}.arrow"), codec)
    zeros = pa.table({"zeros": pa.array(np.zeros(40_000_000, np.int8))})
    pq.write_table(
        zeros,
        directory / "bomb.parquet",
        compression="zstd",
        use_dictionary=False,
        data_page_size=2**30,
        column_encoding={"zeros": "PLAIN"},
        row_group_size=40_000_000,
        write_batch_size=40_000_000,
        max_rows_per_page=40_000_000,
    )
    grid = np.arange(120 * 90, dtype=np.float32).reshape(120, 90)
    with h5py.File(directory / "grid.h5", "w") as file:
        file.attrs["title"] = "<b>grid</b>"
        group = file.create_group("measured")
        data = group.create_dataset("level", data=grid, chunks=(50, 50), compression=4)
        data.attrs["units"] = "m"
        file["far"] = np.zeros(1_000_000)
        file["late/label"] = "a text at the end"
    whole = (directory / "grid.h5").read_bytes()
    (directory / "cut.h5").write_bytes(whole[: len(whole) // 2])
    for name, version in (("v2", 2), ("v3", 3), ("sharded", 3)):
        root = zarr.open_group(
            directory / f"{name}.zarr", mode="w", zarr_format=version
        )
        root.attrs["title"] = "grid"
        shards = {"shards": (100, 100)} if name == "sharded" else {}
        array = root.create_array(
            "level", shape=grid.shape, chunks=(50, 50), dtype="f4", **shards
        )
        array[:] = grid
        zarr.consolidate_metadata(root.store)
    save_file({"layer.weight": grid, "bias": grid[0]}, directory / "w.safetensors")
    parquet = (directory / "snappy.parquet").read_bytes()
    (directory / "cut.parquet").write_bytes(parquet[:-100])


RECORDED = Path(__file__).parent / "recorded" / "preview.zip"


def all_files() -> dict[str, bytes]:
    """Every object by its name."""
    with zipfile.ZipFile(RECORDED) as packed:
        recorded = {name: packed.read(name) for name in packed.namelist()}
    return {**PLAIN, **HOSTILE, **recorded}


def record(target: Path, *writers: Callable[[Path], None]) -> None:
    """Record once more what needs libraries."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for write in writers:
            write(directory)
        target.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as packed:
            for path in sorted(directory.rglob("*")):
                if path.is_file():
                    packed.write(path, path.relative_to(directory))


if __name__ == "__main__":
    record(RECORDED, write_library_files)
