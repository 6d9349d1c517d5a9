"""S3 clients as users run them: no arguments, or the one line that the docs name."""

from __future__ import annotations

import contextlib
import json
import shutil
import time

import pytest
from client_kernel import Kernel

REFUSED = """
def refused(call):
    try:
        call()
    except Exception as error:
        words = repr(error) + repr(error.__cause__)
        assert any(w in words for w in ("403", "denied", "Denied", "Forbidden",
                   "ermission", "AccessDenied", "ACCESS_DENIED")), words
    else:
        raise SystemExit("bob's bucket was open")
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


@pytest.mark.parametrize("client", NO_ARGUMENTS)
def test_a_client_needs_no_arguments(kernel: Kernel, client: str) -> None:
    kernel.run(REFUSED + _dedent(NO_ARGUMENTS[client]))
    assert len(kernel.stub.asked) == 1  # one set of keys serves all of it


@pytest.mark.parametrize("client", ONE_LINE)
def test_a_client_works_by_one_line(kernel: Kernel, client: str) -> None:
    kernel.run(REFUSED + _dedent(ONE_LINE[client]))


@pytest.mark.parametrize("client", ["pyarrow", "duckdb", "s3fs", "boto3", "obstore"])
def test_helpers_reach_the_gateway_where_the_user_has_another_store(
    kernel: Kernel, client: str
) -> None:
    kernel.run(
        "for name in [n for n in os.environ if n.startswith('AWS_')]:\n"
        "    del os.environ[name]\n"
        "os.environ['AWS_ACCESS_KEY_ID'] = os.environ['AWS_SECRET_ACCESS_KEY'] = 'no'\n"
        "os.environ['AWS_EC2_METADATA_DISABLED'] = 'true'\n"
        + REFUSED
        + _dedent(ONE_LINE[client])
    )


def _dedent(code: str) -> str:
    return "\n".join(line[8:] for line in code.splitlines()) + "\n"


def test_rclone_has_a_remote(kernel: Kernel) -> None:
    if not shutil.which("rclone"):
        pytest.skip("needs rclone (Debian: rclone)")
    mine, foreign = kernel.source.mine, kernel.source.foreign
    (kernel.home / "file").write_text("hello")
    done = kernel.program("rclone", "copyto", "file", f"s3:{mine}/rclone/file")
    assert done.returncode == 0, done.stderr
    done = kernel.program("rclone", "cat", f"s3:{mine}/rclone/file")
    assert done.stdout == "hello", done.stderr
    done = kernel.program("rclone", "cat", f"s3:{foreign}/secret")
    assert "403" in done.stderr or "Forbidden" in done.stderr, done
    code = "from landbridge import storage; import json\n"
    code += "print(json.dumps(storage.rclone_config('handed_on')))"
    more = json.loads(kernel.run(code))
    done = kernel.program("rclone", "lsf", f"handed_on:{mine}/rclone", more=more)
    assert done.stdout == "file\n", done.stderr


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
RUN_LOOP = """
import time
end = time.monotonic() + 9
count = 0
while time.monotonic() < end or count < 30:
    assert read() == b"again"
    count += 1
    time.sleep(0.05)
print(count)
"""


def test_keys_are_renewed_in_running_loops(kernel: Kernel) -> None:
    """Each set is really dead 6 s after it was given out, and renewed after 4."""
    source = kernel.source
    source.run(source._site.client.put(source.mine, "loop", b"again"))
    source.stated_life = 6.0
    loops = {
        name: kernel.start(_dedent(code) + RUN_LOOP) for name, code in LOOP.items()
    }
    for name, process in loops.items():
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0, f"{name}: {printed[-2000:]}"
        assert int(printed) >= 30, name
    assert len(kernel.stub.asked) >= 3


def test_a_revoked_session_ends_within_a_second_and_others_go_on(
    kernel: Kernel, clients_python: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = kernel.source
    source.run(source._site.client.put(source.mine, "loop", b"again"))
    code = _dedent(LOOP["boto3"]) + "print(read())\ninput()\nprint(read())\n"
    other = Kernel(clients_python, source, tmp_path_factory.mktemp("other"))
    with contextlib.ExitStack() as stack:
        stack.callback(other.close)
        processes = []
        for each in (kernel, other):
            process = stack.enter_context(each.start(code))
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "b'again'\n"
            processes.append(process)
        first = source.sessions[-2]
        began = time.monotonic()
        source.revoke(first)
        assert time.monotonic() - began < 1
        refused, _ = processes[0].communicate("\n", timeout=30)
        fine, _ = processes[1].communicate("\n", timeout=30)
    assert "AccessDenied" in refused or "403" in refused
    assert fine.strip() == "b'again'"


def test_buckets_and_narrow_keys(kernel: Kernel) -> None:
    kernel.run(
        REFUSED
        + """
import boto3
from landbridge import storage
assert [b.name for b in storage.buckets()] == [mine]
assert storage.place().bucket == mine
keys = storage.credentials(mine, "in/", "read")
assert keys.secret_key not in repr(keys) and keys.token not in repr(keys)
s3 = boto3.client("s3", aws_access_key_id=keys.access_key,
    aws_secret_access_key=keys.secret_key, aws_session_token=keys.token)
boto3.client("s3").put_object(Bucket=mine, Key="in/k", Body=b"1")
assert s3.get_object(Bucket=mine, Key="in/k")["Body"].read() == b"1"
refused(lambda: s3.put_object(Bucket=mine, Key="in/k", Body=b"2"))
refused(lambda: s3.get_object(Bucket=mine, Key="boto3"))
"""
    )


def test_a_profile_of_ones_own_may_use_the_process(kernel: Kernel) -> None:
    (kernel.home / "config").write_text(
        f"[profile gateway]\ncredential_process = {kernel.python} -c "
        '"import sys; from landbridge._process import main; sys.exit(main())"\n'
    )
    code = "import boto3\nboto3.client('s3').list_objects_v2(Bucket=mine)"
    more = {"AWS_PROFILE": "gateway", "AWS_CONFIG_FILE": str(kernel.home / "config")}
    kernel.run(code, **more)


def test_nothing_is_left_in_the_home_directory(kernel: Kernel) -> None:
    kernel.run("import boto3\nboto3.client('s3').list_buckets()")
    assert not [path for path in kernel.home.rglob("*") if path.is_file()]
