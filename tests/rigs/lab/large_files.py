"""Objects much larger than their previews need, and tables and grids of many windows.

What needs the formats' own libraries lies in ``recorded/large.zip``. It was made by
``python large_files.py`` with pyarrow 26, h5py 3.16, zarr 3.1 and netCDF4 1.7.
"""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

from rigs.lab.preview_files import gguf, netcdf, pdf, record

MANY = 16 * 2**20


def claimed(**changes: int) -> bytes:
    """A classic NetCDF header of CDF-5 with one value changed to something absurd."""
    value = {
        "records": 3,
        "dimensions": 1,
        "length": 4,
        "rank": 1,
        "begin": 4096,
        "variables": 2,
    } | changes

    def name(word: bytes) -> bytes:
        return struct.pack(">Q", len(word)) + word + bytes(-len(word) % 4)

    head = b"CDF\x05" + struct.pack(">Q", value["records"])
    head += struct.pack(">IQ", 10, value["dimensions"]) + name(b"x")
    head += struct.pack(">Q", value["length"]) + struct.pack(">IQ", 0, 0)
    head += struct.pack(">IQ", 11, value["variables"])
    for word, begin in ((b"one", 4096), (b"two", value["begin"])):
        head += name(word) + struct.pack(">QQ", value["rank"], 0)
        head += struct.pack(">IQ", 0, 0) + struct.pack(">IQQ", 4, 16, begin)
    return head.ljust(4096, b"\0") + bytes(4096)


def parquet_footer(footer: bytes) -> bytes:
    """A Parquet file of nothing but a footer."""
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


def boasting_parquet() -> dict[str, bytes]:
    """Footers that claim row groups which they have no room for, in several ways."""
    schema = (
        b"\x15\x02\x19\x1c\x48\x01r\x15\x00\x00"  # version 1, a root without fields
    )
    many = b"\xff\xff\xff\xff\x07"  # 2^31 - 1
    rows = b"\x16\x02"  # one row in all
    return {
        "groups.boast.parquet": parquet_footer(schema + rows + b"\x19\xfc" + many),
        "nested.boast.parquet": parquet_footer(
            schema + rows + b"\x19\xf9" + b"\xf0\x80\x80\x08\xf9" * 200_000
        ),
        "endless.boast.parquet": parquet_footer(schema + b"\x16" + b"\x80" * 2_000_000),
        # One row group of 2^62 rows, and of -1.
        "rows.boast.parquet": parquet_footer(
            schema
            + rows
            + b"\x19\x1c\x19\x0c\x16\x00\x16"
            + zigzag(2**62)
            + b"\x00\x00"
        ),
        "minus.boast.parquet": parquet_footer(
            schema + rows + b"\x19\x1c\x19\x0c\x16\x00\x16\x01\x00\x00"
        ),
    }


def zigzag(value: int) -> bytes:
    """A positive number as Thrift's compact protocol writes it."""
    left, out = value << 1, bytearray()
    while left >= 128:
        out.append(left & 127 | 128)
        left >>= 7
    return bytes([*out, left])


def plain_files() -> dict[str, bytes]:
    """What can be made without libraries."""
    grid = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [10**6, 10**6],
        "data_type": "int32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 64]}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {},
    }
    tensor = {"dtype": "U8", "shape": [MANY], "data_offsets": [0, MANY]}
    header = json.dumps({"weight": tensor}).encode()
    line = b'{"place": "Oslo", "level": 709037}\n'
    return {
        "large.txt": b"Plain words.\n" * (MANY // 13),
        "large.csv": b"city,people\n" + b"Oslo,709037\n" * (MANY // 12),
        "large.jsonl": line * (MANY // len(line)),
        "large.safetensors": struct.pack("<Q", len(header)) + header + bytes(MANY),
        "large.gguf": gguf() + bytes(MANY),
        "large.pdf": pdf("Hello from a page", filler=bytes(MANY)),
        "large.zarr/zarr.json": json.dumps(grid).encode(),
        "large.zarr/c/0/0": struct.pack("<4096i", *range(4096)),
        "records.claims.nc": claimed(length=0, records=2**63),
        "dimensions.claims.nc": claimed(dimensions=2**63),
        "length.claims.nc": claimed(length=2**63),
        "rank.claims.nc": claimed(rank=2**62),
        "outside.claims.nc": claimed(begin=2**63),
        "inside.claims.nc": claimed(begin=8),
        "overlap.claims.nc": claimed(begin=4100),
        "variables.claims.nc": claimed(variables=2**31),
        "cut.nc": netcdf()[:60],
        **boasting_parquet(),
    }


def write_tables(directory: Path) -> None:
    """Tables of many row groups and batches, of many columns, and of a heavy one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    count = 16 * 16_384
    blob = pa.array([bytes(64)] * count, pa.binary(64))
    large = pa.table({"id": pa.array(range(count), pa.int32()), "blob": blob})
    pq.write_table(large, directory / "large.parquet", row_group_size=16_384, **plain)
    with pa.ipc.new_file(directory / "large.arrow", large.schema) as file:
        file.write_table(large, max_chunksize=16_384)
    ids = pa.array(range(3000))
    struct_ = pa.array([{"a": i, "b": f"b{i}"} for i in range(3000)])
    small = pa.table({"id": ids, "both": struct_})
    pq.write_table(small, directory / "small.parquet", row_group_size=30)
    wide = pa.table({f"c{i}": pa.array(range(i, i + 10)) for i in range(300)})
    pq.write_table(wide, directory / "wide.parquet")
    with pa.ipc.new_file(directory / "wide.arrow", wide.schema) as file:
        file.write_table(wide)
    blobs = pa.array([bytes(2**20)] * 20, pa.binary())
    heavy = pa.table({"heavy": blobs, "light": pa.array(range(20))})
    pq.write_table(heavy, directory / "heavy.parquet", **plain)
    heavy_file = directory / "heavy.arrow"
    with pa.ipc.new_file(heavy_file, heavy.schema) as file:
        file.write_table(heavy)
        file.write_table(heavy.slice(0, 1))
    # Each batch has a dictionary of its own, which replaces the one before.
    kinds = [pa.array([f"k{at}"] * 7).dictionary_encode() for at in range(400)]
    schema = pa.schema([("id", pa.int64()), ("kind", kinds[0].type)])
    with pa.ipc.new_stream(directory / "small.arrows", schema) as stream:
        for at, kind in enumerate(kinds):
            rows = pa.array(range(at * 7, at * 7 + 7))
            stream.write_batch(pa.record_batch([rows, kind], schema=schema))


def write_grids(directory: Path) -> None:
    """HDF5 with its metadata at both ends, and classic NetCDF of all its types."""
    import h5py
    import netCDF4
    import numpy as np

    with h5py.File(directory / "large.h5", "w") as file:
        file.create_dataset("far", data=np.zeros(MANY, np.uint8))
        file["late/level"] = np.arange(12.0).reshape(3, 4)
    for name, number in (("CLASSIC", 1), ("64BIT_OFFSET", 2), ("64BIT_DATA", 5)):
        kinds = ["i1", "i2", "i4", "f4", "f8"]
        if number == 5:
            kinds += ["u1", "u2", "u4", "i8", "u8"]
        path = directory / f"classic{number}.nc"
        with netCDF4.Dataset(path, "w", format=f"NETCDF3_{name}") as file:
            for side, length in (("time", None), ("y", 30), ("x", 16), ("word", 8)):
                file.createDimension(side, length)
            for kind in kinds:
                grid = file.createVariable(f"grid_{kind}", kind, ("y", "x"))
                grid[:] = np.arange(480).reshape(30, 16) % 100
                # An odd number of bytes: its records are padded.
                line = file.createVariable(f"line_{kind}", kind, ("time", "word"))
                line[:] = np.arange(40).reshape(5, 8)
                if kind != "i1":
                    line[4, 1:] = np.ma.masked
            odd = file.createVariable("odd", "i1", ("time",))
            odd[:] = np.arange(5) - 2
            words = file.createVariable("words", "S1", ("time", "word"))
            texts = [
                text.encode().ljust(8, b"\0") for text in ("a", "bc", "d", "é", "")
            ]
            words[:] = np.frombuffer(b"".join(texts), "S1").reshape(5, 8)
            file.createVariable("scalar", "f8", ())[...] = 1.5
            own = file.createVariable("own", "f4", ("x",), fill_value=-9.0)
            own[:8] = np.arange(8)
            cube = file.createVariable("cube", "i4", ("time", "y", "x"))
            cube[:] = np.arange(5 * 480).reshape(5, 30, 16)
    # Only one variable grows, so nothing is padded.
    with netCDF4.Dataset(
        directory / "single.nc", "w", format="NETCDF3_CLASSIC"
    ) as file:
        file.createDimension("time", None)
        file.createDimension("side", 3)
        file.createVariable("one", "i1", ("time", "side"))[:] = np.arange(12).reshape(
            4, 3
        )
    with netCDF4.Dataset(directory / "large.nc", "w", format="NETCDF3_CLASSIC") as file:
        for side, length in (("time", None), ("y", 512), ("x", 512)):
            file.createDimension(side, length)
        file.createVariable("level", "i4", ("time", "y", "x"))[:] = np.zeros(
            (16, 512, 512)
        )
        clock = file.createVariable("clock", "f8", ("time",))
        clock[:] = np.arange(16) / 2


RECORDED = Path(__file__).parent / "recorded" / "large.zip"


def large_files() -> dict[str, bytes]:
    """Every object by its name."""
    with zipfile.ZipFile(RECORDED) as packed:
        recorded = {name: packed.read(name) for name in packed.namelist()}
    boast = bytearray(recorded["small.arrows"])
    boast[847] = 127  # a batch's header, which claims two thousand million parts
    return {**plain_files(), **recorded, "boast.arrows": bytes(boast)}


if __name__ == "__main__":
    record(RECORDED, write_tables, write_grids)
