"""S3 clients as users run them: no arguments, or the one line that the docs name."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Collection, Iterable

import pytest

from rigs.clients.code import AT_HAND, LOOP, NO_ARGUMENTS, ONE_LINE
from rigs.clients.kernel import Kernel


def clients(names: Iterable[str]) -> list[object]:
    """Parameters: those of our own environment, and all others for the long group."""
    return [
        pytest.param(name, marks=[] if name in AT_HAND else [pytest.mark.long])
        for name in names
    ]


@pytest.mark.parametrize("client", clients(NO_ARGUMENTS))
def test_a_client_needs_no_arguments(kernel: Kernel, client: str) -> None:
    kernel.run(NO_ARGUMENTS[client])
    assert len(kernel.stub.asked) == 1  # one set of keys serves all of it


@pytest.mark.parametrize("client", clients(ONE_LINE))
def test_a_client_works_by_one_line(kernel: Kernel, client: str) -> None:
    kernel.run(ONE_LINE[client])


@pytest.mark.parametrize(
    "client", clients(["pyarrow", "duckdb", "s3fs", "boto3", "obstore"])
)
def test_helpers_reach_the_gateway_where_the_user_has_another_store(
    kernel: Kernel, client: str
) -> None:
    kernel.run(
        "for name in [n for n in os.environ if n.startswith('AWS_')]:\n"
        "    del os.environ[name]\n"
        "os.environ['AWS_ACCESS_KEY_ID'] = os.environ['AWS_SECRET_ACCESS_KEY'] = 'no'\n"
        "os.environ['AWS_EC2_METADATA_DISABLED'] = 'true'\n" + ONE_LINE[client]
    )


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


@pytest.mark.parametrize("names", [AT_HAND, pytest.param(LOOP, marks=pytest.mark.long)])
def test_keys_are_renewed_in_running_loops(
    kernel: Kernel, names: Collection[str]
) -> None:
    """Each set is really dead 6 s after it was given out, and renewed after 4."""
    source = kernel.source
    source.run(source._site.client.put(source.mine, "loop", b"again"))
    source.stated_life = 6.0
    loops = {
        name: kernel.start(code + RUN_LOOP)
        for name, code in LOOP.items()
        if name in names
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
    code = LOOP["boto3"] + "print(read())\ninput()\nprint(read())\n"
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
        """
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
