"""Copies, moves and deletions on a real store, with others at work meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from rigs.stores.fault_proxy import FaultProxy, Refuse
from rigs.stores.sites import Site
from services.common.background.tasks import Phase, Task, Tasks
from services.storage.db import tables
from services.storage.db.rows import Rows, open_database
from services.storage.s3.client import S3Client
from services.storage.s3.transport import StoreAddress
from services.storage.s3.uploads import SMALLEST_PART
from services.storage.s3.values import ListPage, ObjectHead
from services.storage.service import Storage
from services.storage.settings import StorageSettings
from services.storage.site.connection import StoreConnection
from services.storage.spec import ERRORS
from services.storage.work.transfers import Order, kinds

GROUP = "lab"


class Hub:
    """What the hub says of people."""

    def __init__(self) -> None:
        self.groups: dict[str, frozenset[str]] = {"alice": frozenset({GROUP})}

    async def groups_of(self, user: str) -> frozenset[str] | None:
        return self.groups.get(user)


class Watched(S3Client):
    """Calls a test's function when something was just done."""

    after: Callable[[str, str], Awaitable[None]] | None = None
    listed = 0

    async def copy(self, source_bucket: str, source: str, *rest: Any, **more: Any):
        etag = await super().copy(source_bucket, source, *rest, **more)
        if self.after is not None:
            await self.after("copy", source)
        return etag

    async def head(self, bucket: str, key: str, **more: Any) -> ObjectHead:
        found = await super().head(bucket, key, **more)
        if self.after is not None:
            await self.after("head", key)
        return found

    async def list(self, *names: Any, **more: Any) -> ListPage:
        self.listed += 1
        return await super().list(*names, **more)


class Work:
    """The service's long work in this process, as alice."""

    def __init__(self, site: Site, storage: Storage, client: Watched) -> None:
        self.site = site
        self.storage = storage
        self.client = client
        self.hub = Hub()
        storage.people = self.hub  # type: ignore[assignment]
        self.own = storage.default_bucket("alice")

    async def begin(self, kind: str, *keys: str, **more: Any) -> Task:
        wish = {"source": self.own, "target": self.own, "prefix": "to/", **more}
        order = Order(user="alice", keys=keys, **{"prefixes": (), **wish})
        return await self.storage.tasks.begin(kind, "alice", asdict(order))

    async def do(self, kind: str, *keys: str, **more: Any) -> Task:
        task = await self.begin(kind, *keys, **more)
        async with asyncio.timeout(60):
            await self.storage.tasks.wait(task.id)
        return await self.storage.tasks.get(task.id, "alice")

    async def put(self, *keys: str, data: bytes = b"1", bucket: str = "") -> None:
        for key in keys:
            await self.site.client.put(bucket or self.own, key, data)

    async def names(self, prefix: str = "", bucket: str = "") -> list[str]:
        page = await self.site.client.list(bucket or self.own, prefix)
        return [found.key for found in page.objects]

    async def read(self, key: str) -> bytes:
        return (await self.site.client.get(self.own, key)).data

    async def promised(self) -> int:
        return len(await self.storage.quota.rows.promises(self.own))


@asynccontextmanager
async def working(
    site: Site, place: Path, endpoint: str = "", single: int = 2**40, **more: Any
) -> AsyncIterator[Work]:
    """The service's parts on a store, with buckets of this test's own."""
    word = await site.bucket("long")
    settings = StorageSettings(
        user_bucket=f"{word}-{{user}}", group_bucket=f"{word}-g-{{group}}", **more
    )
    database = await open_database(f"sqlite:///{place / 'storage.sqlite'}")
    address = StoreAddress(endpoint or site.facts.endpoint, attempts=1)
    client = Watched(address, site.facts.key, dialect=site.features.dialect)
    storage = Storage(settings, Rows(database), None)  # type: ignore[arg-type]
    storage.connect(
        StoreConnection(client, address.endpoint, None, False, keys=site.features.keys)
    )
    work = kinds(storage, single=single)
    storage.tasks = Tasks(database, tables.tasks, work, errors=ERRORS)
    for bucket in (f"{word}-alice", f"{word}-g-{GROUP}"):
        await site.client.buckets.create(bucket)
    yield Work(site, storage, client)
    await storage.tasks.close()
    await storage.quota.close()
    await client.close()
    await database.close()


@pytest.fixture
async def work(site: Site, tmp_path: Path) -> AsyncIterator[Work]:
    """On each of the stores."""
    async with working(site, tmp_path) as found:
        yield found


async def test_a_move_keeps_what_was_written_meanwhile(work):
    await work.put("a", "b", data=b"old")

    async def overwrite(what: str, key: str) -> None:
        if (what, key) == ("copy", "a"):
            await work.put("a", data=b"new")

    work.client.after = overwrite
    task = await work.do("move", "a", "b")
    assert (task.phase, task.done, task.failed) == (Phase.FAILED, 1, 1)
    assert task.failures[0]["key"] == "a"
    assert "changed while it was moved" in task.failures[0]["message"]
    assert await work.names() == ["a", "to/a", "to/b"]
    assert (await work.read("a"), await work.read("to/a")) == (b"new", b"old")


async def test_a_move_that_finds_its_copy_there_keeps_a_newer_source(work):
    await work.put("a", "to/a", data=b"old")

    async def overwrite(what: str, key: str) -> None:
        if (what, key) == ("head", "to/a"):
            await work.put("a", data=b"new")

    work.client.after = overwrite
    task = await work.do("move", "a")
    assert (task.phase, task.done) == (Phase.FAILED, 0)
    assert (await work.read("a"), await work.read("to/a")) == (b"new", b"old")


async def test_a_move_takes_folders_and_large_objects_along(work):
    await work.put("src/x", "src/y/z")
    await work.put("src/", data=b"")
    bucket, uploads = work.own, work.site.client.uploads
    upload = await uploads.create(bucket, "src/big")
    parts = [
        await uploads.part(bucket, "src/big", upload, number, data)
        for number, data in ((1, bytes(SMALLEST_PART)), (2, b"end"))
    ]
    await uploads.complete(bucket, "src/big", upload, parts)
    task = await work.do("move", prefixes=("src/",))
    assert (task.phase, task.done, task.failures) == (Phase.DONE, 4, ())
    names = ["to/src/", "to/src/big", "to/src/x", "to/src/y/z"]
    assert await work.names() == names
    # Once more: what is there already is known again.
    await work.client.copy(bucket, "to/src/big", bucket, "src/big")
    task = await work.do("move", prefixes=("src/",))
    assert (task.phase, task.done, task.failures) == (Phase.DONE, 1, ())
    assert await work.names() == names


@pytest.mark.parametrize("kind", ["copy", "move", "delete"])
async def test_who_leaves_a_group_does_no_more_in_its_bucket(work, kind):
    bucket = work.own.replace("-alice", f"-g-{GROUP}")
    await work.put(*(f"src/{n:02}" for n in range(20)), bucket=bucket)
    gone = asyncio.Event()

    async def leave(what: str, key: str) -> None:
        work.hub.groups["alice"] = frozenset()
        gone.set()

    if kind == "delete":
        await leave("", "")
    work.client.after = leave
    task = await work.do(kind, source=bucket, prefixes=("src/",))
    assert gone.is_set()
    assert task.phase is Phase.FAILED
    assert task.message == f"There is no bucket {bucket} for you."
    # What was under way when she left may be whole; nothing more is.
    assert len(await work.names("to/")) <= 16
    assert len(await work.names(bucket=bucket)) == 20


async def test_a_user_who_is_gone_ends_the_task(work):
    await work.put("a")
    work.hub.groups.clear()
    task = await work.do("copy", "a")
    assert task.phase is Phase.FAILED
    assert task.message == "There is no user alice any more."
    assert await work.names() == ["a"]


async def test_a_task_can_be_cancelled_while_there_is_no_store(work, monkeypatch):
    monkeypatch.setattr("services.storage.work.transfers._LOOK_EVERY_SECONDS", 0.01)
    await work.put("a")
    work.storage.disconnect("It is gone.")
    tasks = work.storage.tasks
    task = await work.begin("copy", "a")
    async with asyncio.timeout(60):
        while not task.message:
            task = await tasks.get(task.id, "alice")
        assert task.message == "It waits for the store. It is gone."
        await tasks.cancel(task.id, "alice")
        await tasks.wait(task.id)
    assert (await tasks.get(task.id, "alice")).phase is Phase.CANCELLED
    assert await work.names() == ["a"]


async def test_names_that_mean_another_object_are_refused(work):
    odd = ["dir//k", "/dir/k", "dir\\k"]
    keeps = work.storage.connection.keys.keeps("a//b")
    await work.put("dir/k", data=b"plain")
    if keeps:  # by Ceph: nothing changes
        await work.put(*odd, data=b"odd")
    for number, name in enumerate(odd):
        for kind, prefix in (("copy", f"c{number}/"), ("move", "dir/")):
            task = await work.do(kind, name, prefix=prefix, overwrite=keeps)
            assert (task.phase is Phase.DONE) is keeps, task
            assert keeps or "second name" in task.message
            assert not keeps or await work.read("dir/k") != b""
        task = await work.do("delete", name)
        assert (task.phase is Phase.DONE) is keeps, task
    task = await work.do("delete", prefixes=("dir//",))
    assert (task.phase is Phase.DONE) is keeps
    assert "dir/k" in await work.names()


async def test_copies_in_parts_are_known_again_with_all_that_belongs_to_them(
    site, tmp_path
):
    async with working(site, tmp_path, single=SMALLEST_PART) as work:
        await work.put("a", data=bytes(SMALLEST_PART + 1))
        for _ in range(2):
            task = await work.do("copy", "a")
            assert (task.phase, task.done) == (Phase.DONE, 1), task
        await work.put("to/a", data=b"1" * (SMALLEST_PART + 1))
        task = await work.do("copy", "a")
        assert "another object" in task.failures[0]["message"]


@pytest.fixture
async def cut_off(
    weed: Site, faults: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Work]:
    """Behind a proxy, with room for 20 objects of 1,000 bytes."""
    monkeypatch.setattr("services.storage.work.transfers._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("services.storage.work.transfers._LONGEST_PAUSE", 0.02)
    async with working(weed, tmp_path, faults.endpoint, user_quota=20_000) as found:
        yield found


async def test_a_short_outage_uses_up_no_quota(cut_off, faults):
    work = cut_off
    await work.put(*(f"src/{n}" for n in range(8)), data=b"x" * 1000)
    faults.matching = lambda head: b"x-amz-copy-source:" in head.lower()
    faults.plan = [Refuse() for _ in range(45)]
    task = await work.do("copy", prefixes=("src/",))
    assert (task.phase, task.done, task.failures) == (Phase.DONE, 8, ()), task
    assert not faults.plan
    assert await work.promised() == 8


async def test_a_move_that_is_cut_off_counts_each_object_once(cut_off, faults):
    work = cut_off
    await work.put(*(f"src/{n}" for n in range(8)), data=b"x" * 1000)
    faults.matching = lambda head: head.startswith(b"DELETE ")
    faults.plan = [Refuse() for _ in range(5)]
    task = await work.do("move", prefixes=("src/",))
    assert (task.phase, task.done, task.failures) == (Phase.DONE, 8, ()), task
    assert await work.names("src/") == []
    assert len(await work.names("to/")) == 8


async def test_many_refused_uploads_count_a_bucket_once(work):
    await work.put("a")
    before = work.client.listed
    quota = work.storage.quota
    first = asyncio.create_task(quota.measure(work.own))
    others = [asyncio.create_task(quota.measure(work.own)) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()  # who asked first goes away
    assert {one.objects for one in await asyncio.gather(*others)} == {1}
    assert work.client.listed == before + 1
    await work.put("b")
    assert (await quota.measure(work.own)).objects == 2
