"""What users write to read and write their bucket, one piece for each S3 client.

Each piece writes into ``mine``, reads it back, and sees to it by ``refused`` that
``foreign`` is closed. :data:`PRELUDE` says what these are.
"""

from __future__ import annotations

from textwrap import dedent

PRELUDE = """
import os
mine, foreign = os.environ["MINE"], os.environ["FOREIGN"]

def refused(call, *more):
    try:
        call()
    except Exception as error:
        words = repr(error) + repr(error.__cause__)
        assert any(w in words for w in ("403", "denied", "Denied", "Forbidden",
                   "ermission", "AccessDenied", "ACCESS_DENIED", *more)), words
    else:
        raise AssertionError("bob's bucket was open")
"""

NO_ARGUMENTS = {
    "boto3": """
        import boto3
        s3 = boto3.client("s3")
        s3.put_object(Bucket=mine, Key="boto3", Body=b"x" * 100)
        assert s3.get_object(Bucket=mine, Key="boto3")["Body"].read() == b"x" * 100
        assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == [mine]
        refused(lambda: s3.get_object(Bucket=foreign, Key="secret"))
        """,
    "s3fs": """
        import s3fs
        fs = s3fs.S3FileSystem()
        with fs.open(f"{mine}/s3fs", "wb") as file:
            file.write(b"hello")
        assert fs.cat(f"{mine}/s3fs") == b"hello"
        refused(lambda: fs.cat(f"{foreign}/secret"))
        """,
    "obstore": """
        from obstore.store import S3Store
        store = S3Store(mine)
        store.put("obstore", b"hello")
        assert bytes(store.get("obstore").bytes()) == b"hello"
        refused(lambda: S3Store(foreign).get("secret").bytes())
        """,
    "pandas": """
        import pandas as pd
        frame = pd.DataFrame({"a": range(10)})
        frame.to_parquet(f"s3://{mine}/pandas.parquet")
        assert pd.read_parquet(f"s3://{mine}/pandas.parquet").equals(frame)
        frame.to_csv(f"s3://{mine}/pandas.csv")
        assert len(pd.read_csv(f"s3://{mine}/pandas.csv")) == 10
        refused(lambda: pd.read_parquet(f"s3://{foreign}/secret"))
        """,
    "polars": """
        import polars as pl
        pl.DataFrame({"a": range(10)}).write_parquet(f"s3://{mine}/polars.parquet")
        assert pl.read_parquet(f"s3://{mine}/polars.parquet").height == 10
        refused(lambda: pl.read_parquet(f"s3://{foreign}/secret"))
        """,
    "zarr": """
        import numpy, zarr
        array = zarr.create_array(f"s3://{mine}/z.zarr", shape=(9,), dtype="i4")
        array[:] = numpy.arange(9)
        assert zarr.open_array(f"s3://{mine}/z.zarr", mode="r")[:].sum() == 36
        refused(lambda: zarr.create_array(f"s3://{foreign}/z", shape=(9,), dtype="i4"))
        """,
    "lance": """
        import lance, pyarrow
        lance.write_dataset(pyarrow.table({"a": [1, 2]}), f"s3://{mine}/d.lance")
        assert lance.dataset(f"s3://{mine}/d.lance").count_rows() == 2
        table = pyarrow.table({"a": [1]})
        refused(lambda: lance.write_dataset(table, f"s3://{foreign}/d.lance"))
        """,
    "deltalake": """
        import deltalake, pyarrow
        deltalake.write_deltalake(f"s3://{mine}/delta", pyarrow.table({"a": [1, 2]}))
        found = deltalake.DeltaTable(f"s3://{mine}/delta").to_pyarrow_table()
        assert found.num_rows == 2
        table = pyarrow.table({"a": [1]})
        refused(lambda: deltalake.write_deltalake(f"s3://{foreign}/delta", table))
        """,
    "mlflow": """
        from pathlib import Path
        from mlflow.store.artifact.artifact_repository_registry import (
            get_artifact_repository,
        )
        Path("model.txt").write_text("weights")
        get_artifact_repository(f"s3://{mine}/runs/1").log_artifact("model.txt")
        found = get_artifact_repository(f"s3://{mine}/runs/1")
        assert Path(found.download_artifacts("model.txt")).read_text() == "weights"
        other = get_artifact_repository(f"s3://{foreign}/runs")
        refused(lambda: other.log_artifact("model.txt"))
        """,
    "daft": """
        import daft
        daft.from_pydict({"a": [1, 2]}).write_parquet(f"s3://{mine}/daft")
        assert daft.read_parquet(f"s3://{mine}/daft/*.parquet").count_rows() == 2
        unsaid = "MiscTransient"  # daft 0.7 does not tell what the store answered
        refused(lambda: daft.read_parquet(f"s3://{foreign}/secret").collect(), unsaid)
        """,
    "aws s3": """
        import subprocess, sys
        from pathlib import Path
        def aws(*words):
            program = [Path(sys.executable).with_name("aws"), "s3", *words]
            done = subprocess.run(program, capture_output=True, text=True)
            if done.returncode:
                raise OSError(done.stderr)
        Path("file").write_text("hello")
        aws("cp", "file", f"s3://{mine}/aws")
        aws("cp", f"s3://{mine}/aws", "copy")
        assert Path("copy").read_text() == "hello"
        refused(lambda: aws("cp", f"s3://{foreign}/secret", "copy"))
        """,
    "pyarrow by URL": """
        import pyarrow, pyarrow.parquet as pq
        pq.write_table(pyarrow.table({"a": [1]}), f"s3://{mine}/arrow.parquet")
        assert pq.read_table(f"s3://{mine}/arrow.parquet").num_rows == 1
        refused(lambda: pq.read_table(f"s3://{foreign}/secret"))
        """,
}

ONE_LINE = {
    "pyarrow": """
        from landbridge import storage
        fs = storage.pyarrow_filesystem()
        with fs.open_output_stream(f"{mine}/arrow") as file:
            file.write(b"hello")
        assert fs.open_input_stream(f"{mine}/arrow").read() == b"hello"
        refused(lambda: fs.open_input_stream(f"{foreign}/secret"))
        """,
    "duckdb": """
        import duckdb
        from landbridge import storage
        sql = storage.duckdb(duckdb.connect())
        sql.execute(f"COPY (SELECT 42 AS a) TO 's3://{mine}/duck.parquet'")
        found = sql.execute(f"SELECT a FROM 's3://{mine}/duck.parquet'").fetchone()
        assert found == (42,)
        refused(lambda: sql.execute(f"SELECT * FROM 's3://{foreign}/secret.csv'"))
        """,
    "obstore": """
        from landbridge import storage
        store = storage.store()
        store.put("by-helper", b"hello")
        assert bytes(storage.store(mine).get("by-helper").bytes()) == b"hello"
        inner = storage.store(mine, "inner")
        inner.put("k", b"1")
        assert bytes(store.get("inner/k").bytes()) == b"1"
        refused(lambda: storage.store(foreign).get("secret").bytes())
        """,
    "s3fs": """
        import pandas as pd
        from landbridge import storage
        fs = storage.filesystem()
        fs.pipe(f"{mine}/by-helper", b"hello")
        assert fs.cat(f"{mine}/by-helper") == b"hello"
        options = storage.fsspec_options()
        pd.DataFrame({"a": [1]}).to_csv(f"s3://{mine}/o.csv", storage_options=options)
        refused(lambda: fs.cat(f"{foreign}/secret"))
        """,
    "boto3": """
        import urllib.request
        from landbridge import storage
        s3 = storage.boto3_client()
        s3.put_object(Bucket=mine, Key="k", Body=b"hello")
        url = s3.generate_presigned_url("get_object", {"Bucket": mine, "Key": "k"})
        assert urllib.request.urlopen(url).read() == b"hello"
        refused(lambda: s3.get_object(Bucket=foreign, Key="secret"))
        """,
}

# What the tests' own environment has; all others are for the long group.
AT_HAND = ("boto3", "obstore")

LOOP = {
    "boto3": """
        import boto3
        s3 = boto3.client("s3")
        read = lambda: s3.get_object(Bucket=mine, Key="loop")["Body"].read()
        """,
    "s3fs": """
        import s3fs
        fs = s3fs.S3FileSystem(use_listings_cache=False)
        read = lambda: fs.cat_file(f"{mine}/loop")
        """,
    "obstore": """
        from landbridge import storage
        store = storage.store()
        read = lambda: bytes(store.get("loop").bytes())
        """,
}

for pieces in (NO_ARGUMENTS, ONE_LINE, LOOP):
    for name, code in pieces.items():
        pieces[name] = dedent(code).lstrip()
