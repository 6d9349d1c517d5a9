"""Copies between a home directory and a bucket, by the real service and store."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from landbridge_lab.copies.bucket import Bucket
from landbridge_lab.copies.files import PART, FileRefused
from landbridge_lab.copies.work import Copy
from landbridge_lab.gateway.storage import StorageService
from rigs.services.copying_home import Home

LARGE = 20 * 2**20


@pytest.fixture
def home(gateway, alice, tmp_path) -> Home:
    url = f"http://127.0.0.1:{gateway.port}/services/storage/api/v1/"
    return Home(tmp_path, StorageService(url, alice.token))


def journal(home: Home, copy: Copy) -> dict[str, Any]:
    return json.loads((home.journal / f"{copy.id}.json").read_text())


async def test_a_folder_goes_there_and_back_with_odd_names(home, alice):
    tree = home.path / "data"
    (tree / "sub").mkdir(parents=True)
    large = os.urandom(LARGE)
    contents = {
        "a.txt": b"words",
        "empty": b"",
        "sub/50% + #?&=é \U0001f600.csv": b"1,2",
        "sub/x%2Fy~*'(|)<>\"": b"odd",
        "large": large,
    }
    for name, data in contents.items():
        (tree / name).write_bytes(data)
    (tree / "link").symlink_to("/etc/passwd")
    os.mkfifo(tree / "pipe")
    there = await home.copy("from-home", ["data"], "up/")
    assert (there.phase, there.done, there.failed) == ("done", 5, 2)
    assert {one["name"] for one in there.failures} == {"data/link", "data/pipe"}
    assert alice.names("up/data/") == sorted(f"up/data/{name}" for name in contents)
    for name, data in contents.items():
        assert alice.get(f"up/data/{name}").content == data, name

    back = await home.copy("to-home", ["up/data/"], "restored")
    assert (back.phase, back.done, back.failed) == ("done", 5, 0)
    assert (back.total, back.bytes_total) == (5, back.bytes_done)
    for name, data in contents.items():
        assert (home.path / "restored" / "data" / name).read_bytes() == data, name
    assert not [name for name in home.files() if name.endswith(PART)]
    assert journal(home, back)["phase"] == "done"


async def test_nothing_is_replaced_unless_that_is_asked_for(home, alice):
    alice.put("keep.txt", b"object", overwrite=True)
    seen: list[bool] = []
    home.again(active=lambda: seen.append(True))
    (home.path / "keep.txt").write_bytes(b"file, another")
    for kind, names in (("to-home", ["keep.txt"]), ("from-home", ["keep.txt"])):
        copy = await home.copy(kind, names, "")
        assert copy.phase == "failed"
        assert "already" in copy.message
    assert (home.path / "keep.txt").read_bytes() == b"file, another"
    assert alice.get("keep.txt").content == b"object"
    assert (
        await home.copy("to-home", ["keep.txt"], "", overwrite=True)
    ).phase == "done"
    assert (home.path / "keep.txt").read_bytes() == b"object"
    assert seen  # whoever stops idle servers is told
    # What was copied before is not copied again.
    again = await home.copy("to-home", ["keep.txt"], "")
    assert (again.phase, again.bytes_done) == ("done", 6)


async def test_no_path_leads_out_of_the_home_directory(home, alice, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (home.path / "door").symlink_to(outside)
    alice.put("door-file", b"x", overwrite=True)
    for target in ("../outside", "a/../../outside", "/..", "."):
        with pytest.raises(FileRefused):
            await home.copy("to-home", ["door-file"], target)
    copy = await home.copy("to-home", ["door-file"], "door")
    assert copy.phase == "failed"
    assert not list(outside.iterdir())
    for name in ("../outside", "..", "door/../../x"):
        with pytest.raises(FileRefused):
            await home.copy("from-home", [name], "x/")
    (outside / "secret").write_text("s")
    assert (await home.copy("from-home", ["door/secret"], "x/")).phase == "failed"
    assert alice.names("x/") == []


class HostileBucket(Bucket):
    """A bucket with keys that a store like RGW keeps, and no file can have."""

    keys = ("evil/../../x", "evil//x", "evil/./x", "evil/\0", "evil/" + "n" * 300)

    async def pages(self, prefix: str, after: str) -> AsyncIterator[list[Any]]:
        async for page in super().pages(prefix, after):
            yield page
        good = await self.head("evil/good")
        yield [type(good)(key, good.size, good.modified, "") for key in self.keys]


async def test_keys_that_no_file_can_have_are_told_and_left(home, alice):
    alice.put("evil/good", b"x", overwrite=True)
    home.again(open_bucket=HostileBucket.open)
    copy = await home.copy("to-home", ["evil/"], "in")
    assert (copy.phase, copy.done, copy.failed) == ("done", 1, 5)
    assert home.files() == ["in/evil/good"]
    assert not (home.path.parent / "x").exists()


class SlowBucket(Bucket):
    """A bucket whose first large object stops half-way until it is let go."""

    half = threading.Event()
    go_on = threading.Event()

    async def read(self, entry: Any) -> AsyncIterator[bytes]:
        async for piece in super().read(entry):
            yield piece
            if entry.size == LARGE:
                self.half.set()
                await asyncio.to_thread(self.go_on.wait, 30)

    async def write(self, key: str, pieces: Any, size: int, *, overwrite: bool) -> None:
        async def slow() -> AsyncIterator[bytes]:
            async for piece in pieces:
                yield piece
                if size == LARGE:
                    self.half.set()
                    await asyncio.to_thread(self.go_on.wait, 30)

        await super().write(key, slow(), size, overwrite=overwrite)


@pytest.fixture
def slow(home) -> type[SlowBucket]:
    SlowBucket.half.clear()
    SlowBucket.go_on.clear()
    home.again(open_bucket=SlowBucket.open)
    yield SlowBucket
    SlowBucket.go_on.set()


@pytest.mark.parametrize("kind", ["to-home", "from-home"])
async def test_a_copy_that_is_called_off_leaves_nothing_half(kind, home, alice, slow):
    data = os.urandom(LARGE)
    name, target = ("off/large", "") if kind == "to-home" else ("large", "off2/")
    if kind == "to-home":
        alice.put("off/large", data, overwrite=True)
    else:
        (home.path / "large").write_bytes(data)
    wish = {"kind": kind, "bucket": "alice", "names": [name], "target": target}
    copy = home.copies.begin(**wish)
    assert await asyncio.to_thread(slow.half.wait, 30)
    home.copies.cancel(copy)
    slow.go_on.set()
    await home.over(copy)
    assert (copy.phase, copy.done) == ("cancelled", 0)
    assert home.files() == ([] if kind == "to-home" else ["large"])
    assert alice.names("off2/") == []
    unfinished = alice.call("GET", "uploads", bucket="alice", prefix="off2/")
    assert unfinished["uploads"] == []


async def test_a_file_that_changes_meanwhile_is_no_object(home, alice, slow):
    file = home.path / "large"
    file.write_bytes(bytes(LARGE))
    wish = {"kind": "from-home", "bucket": "alice", "names": ["large"], "target": "c/"}
    copy = home.copies.begin(**wish)
    assert await asyncio.to_thread(slow.half.wait, 30)
    with file.open("ab") as more:
        more.write(b"x")
    slow.go_on.set()
    await home.over(copy)
    assert copy.phase == "failed"
    assert "changed while it was copied" in copy.message
    assert alice.names("c/") == []


async def test_a_copy_goes_on_after_the_servers_end(home, alice, slow):
    for number in range(6):
        alice.put(f"on/{number}", b"x" * number, overwrite=True)
    alice.put("on/large", bytes(LARGE), overwrite=True)
    wish = {"kind": "to-home", "bucket": "alice", "names": ["on/"], "target": ""}
    copy = home.copies.begin(**wish)
    assert await asyncio.to_thread(slow.half.wait, 30)
    closing = asyncio.create_task(home.copies.close())
    slow.go_on.set()
    await closing
    assert copy.phase == "interrupted"
    assert not [name for name in home.files() if name.endswith("large")]

    (found,) = home.again().list()
    assert (found.id, found.phase) == (copy.id, "interrupted")
    home.copies.resume(found)
    await home.over(found)
    assert (found.phase, found.failed) == ("done", 0)
    assert (home.path / "on/large").stat().st_size == LARGE
    assert len(home.files()) == 7


async def test_bobs_bucket_is_refused_in_words(home):
    wish = {"kind": "to-home", "bucket": "bob", "names": ["x/"], "target": ""}
    copy = await home.over(home.copies.begin(**wish))
    assert copy.phase == "failed"
    assert copy.message
    assert home.files() == []


async def test_many_shares_have_keys_of_their_own(home, alice, bob):
    """More than one set of keys has room for; a share may be of a part, to read."""
    prefixes = [f"shared/{'long-name-' * 20}{number}/" for number in range(10)]
    made = []
    for number, prefix in enumerate(prefixes):
        bob.put(f"{prefix}file", b"bob's", overwrite=True)
        wish = {"bucket": "bob", "prefix": prefix, "kind": "user", "name": "alice"}
        mode = "read-write" if number % 2 else "read"
        made.append(bob.call("POST", "shares", wish | {"mode": mode})["id"])
    try:
        left_out = alice.call("POST", "credentials", {})["left_out"]
        assert len(left_out) > 1
        (home.path / "mine").write_bytes(b"alice's")
        for grant in left_out:
            prefix, may_write = grant["prefix"], grant["mode"] == "read-write"
            copy = await home.copy("to-home", [prefix], prefix, bucket="bob")
            assert (copy.phase, copy.done, copy.failures) == ("done", 1, [])
            copy = await home.copy("from-home", ["mine"], prefix, bucket="bob")
            assert copy.phase == ("done" if may_write else "failed"), copy.message
            assert may_write or "You may not write there" in copy.message
    finally:
        for share in made:
            bob.call("DELETE", f"shares/{share}")


async def test_what_came_during_a_large_upload_stays(home, alice, slow):
    (home.path / "large").write_bytes(bytes(LARGE))
    wish = {"kind": "from-home", "bucket": "alice", "names": ["large"], "target": "m/"}
    copy = home.copies.begin(**wish)
    assert await asyncio.to_thread(slow.half.wait, 30)
    alice.put("m/large", b"quicker")
    slow.go_on.set()
    await home.over(copy)
    assert (copy.phase, copy.done) == ("failed", 0)
    assert "already" in copy.message
    assert alice.get("m/large").content == b"quicker"
    unfinished = alice.call("GET", "uploads", bucket="alice", prefix="m/")
    assert unfinished["uploads"] == []


async def test_an_object_that_was_replaced_is_not_taken_for_the_listed(home, alice):
    class ReplacedBucket(Bucket):
        async def read(self, entry: Any) -> AsyncIterator[bytes]:
            alice.put(entry.key, b"other", overwrite=True)
            async for piece in super().read(entry):
                yield piece

    alice.put("same/size", b"first", overwrite=True)
    home.again(open_bucket=ReplacedBucket.open)
    copy = await home.copy("to-home", ["same/"], "")
    assert (copy.phase, copy.done) == ("failed", 0)
    assert "changed" in copy.message
    assert home.files() == []


async def test_a_folder_in_the_way_fails_one_file(home, alice):
    for name in ("way/a", "way/b", "way/c"):
        alice.put(name, b"x", overwrite=True)
    (home.path / "way" / "b").mkdir(parents=True)
    copy = await home.copy("to-home", ["way/"], "", overwrite=True)
    assert (copy.phase, copy.done) == ("done", 2)
    assert copy.failures == [
        {"name": "way/b", "message": "there is a folder of this name"}
    ]
    assert home.files() == ["way/a", "way/c"]


@contextmanager
def nobody() -> Iterator[None]:
    """Be somebody whom file modes bind, where we are root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


async def test_a_folder_that_cannot_be_read_fails_alone(home, alice):
    with tempfile.TemporaryDirectory(prefix="lbhome-", dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        home.path, home.journal = Path(place) / "home", Path(place) / "journal"
        for name in ("a", "closed", "z"):
            (home.path / "tree" / name).mkdir(parents=True)
            (home.path / "tree" / name / "file").write_bytes(b"x")
        home.journal.mkdir()
        home.journal.chmod(0o777)
        (home.path / "tree" / "closed").chmod(0o700 if os.geteuid() == 0 else 0)
        with nobody():
            home.again()
            copy = await home.copy("from-home", ["tree"], "closed/")
        (home.path / "tree" / "closed").chmod(0o700)
    assert (copy.phase, copy.done, copy.failed) == ("done", 2, 1)
    assert copy.failures[0]["name"] == "tree/closed"
    assert "Permission denied" in copy.failures[0]["message"]
    assert alice.names("closed/") == ["closed/tree/a/file", "closed/tree/z/file"]


async def test_a_users_other_server_leaves_a_running_copy_alone(home, alice, slow):
    alice.put("two/large", bytes(LARGE), overwrite=True)
    wish = {"kind": "to-home", "bucket": "alice", "names": ["two/"], "target": ""}
    first = home.copies
    copy = first.begin(**wish)
    assert await asyncio.to_thread(slow.half.wait, 30)

    other = home.again()
    (seen,) = other.list()
    assert (seen.id, seen.phase) == (copy.id, "running")
    seen.phase = "interrupted"  # as it was shown a moment before
    other.resume(seen)
    assert not other._tasks
    (seen,) = other.list()
    other.cancel(seen)
    slow.go_on.set()
    home.copies = first
    await home.over(copy)
    assert copy.phase == "cancelled"
    found = other.get(copy.id)
    assert found is not None
    assert found.phase == "cancelled"
    assert home.files() == []


@pytest.mark.parametrize("target", ["/x/", "x//"])
async def test_what_this_store_would_rename_is_refused_in_words(target, home, alice):
    (home.path / "a").write_bytes(b"x")
    copy = await home.copy("from-home", ["a"], target)
    assert copy.phase == "failed"
    assert "This store cannot keep the name" in copy.message
    assert "x/a" not in alice.names()
    for target in ("../", "a/./"):
        copy = await home.copy("from-home", ["a"], target)
        assert (copy.phase, copy.message) == (
            "failed",
            "a: no object can have this name",
        )
