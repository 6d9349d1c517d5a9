"""Keys for programs: what one opens, until when, and what a wrong one is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.common.access import bearer_keys as module
from services.common.access.bearer_keys import BearerKeys, bearer_keys_table, hash_of
from services.common.web.errors import Forbidden, NotSignedIn, NotThere, TooMany
from services.common.web.limits import Limit
from services.common.web.paging import PageQuery
from spawners.common.database import Database, open_engine

METADATA = sa.MetaData()
TABLE = bearer_keys_table("keys", METADATA)
RESOURCE = "endpoint:alice/iris"
HERE = "192.0.2.1"


def soon(days: float = 1) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    file = tmp_path / "x.sqlite"
    database = Database(open_engine(f"sqlite:///{file}", 5, what="database"), "x")
    await database.run(METADATA.create_all)
    yield database
    await database.close()


@pytest.fixture
def keys(database: Database) -> BearerKeys:
    return BearerKeys(database, TABLE)


async def make(
    keys: BearerKeys, owner: str = "alice", expires: datetime | None = None
) -> tuple[str, str]:
    key, text = await keys.make(owner, "ci", RESOURCE, ["infer"], expires or soon())
    return key.id, text


async def last_used(keys: BearerKeys) -> datetime | None:
    (key,) = (await keys.page(PageQuery(), owner="alice")).entries
    return key.last_used


async def test_a_key_opens_its_resource_for_its_verbs(keys: BearerKeys) -> None:
    _, text = await make(keys)
    key = await keys.check(text, RESOURCE, "infer", source=HERE)
    assert (key.owner, key.name, key.resource) == ("alice", "ci", RESOURCE)
    for resource, verb in ((RESOURCE, "delete"), ("endpoint:alice/iri", "infer")):
        with pytest.raises(Forbidden):
            await keys.check(text, resource, verb, source=HERE)


async def test_nothing_secret_is_kept(keys: BearerKeys, database: Database) -> None:
    _, text = await make(keys)
    rows = await database.read(
        lambda c: [tuple(r) for r in c.execute(sa.select(TABLE))]
    )
    told = str(rows)
    assert text not in told
    assert text[8:] not in told
    assert hash_of(text) in told
    assert set(await keys.live()) == {hash_of(text)}
    assert text.startswith(rows[0][2])
    assert len(rows[0][2]) == 8


async def test_what_is_not_good_is_told_one_and_the_same(keys: BearerKeys) -> None:
    revoked_id, revoked = await make(keys)
    _, expired = await make(keys, expires=soon(-1))
    _, good = await make(keys)
    await keys.revoke(revoked_id, "alice")
    wrong = [
        revoked,
        expired,
        good[:-1] + "~",
        good[:-1],
        good + "x",
        "",
        "lbk_",
        "é\0",
    ]
    told = set()
    for text in wrong:
        with pytest.raises(NotSignedIn) as refusal:
            await keys.check(text, RESOURCE, "infer", source=HERE)
        told.add((str(refusal.value), refusal.value.hint, refusal.value.code))
    assert len(told) == 1


async def test_who_tries_many_has_to_wait_and_nobody_else(
    database: Database, keys: BearerKeys
) -> None:
    keys = BearerKeys(database, TABLE, wrong=Limit(per_second=0.001, burst=5))
    _, used = await make(keys)
    _, unused = await make(keys)
    await keys.check(used, RESOURCE, "infer", source=HERE)
    for number in range(5):
        with pytest.raises(NotSignedIn):
            await keys.check(f"{used[:-2]}{number:02}", RESOURCE, "infer", source=HERE)
    with pytest.raises(TooMany) as refusal:
        await keys.check("lbk_" + "x" * 43, RESOURCE, "infer", source=HERE)
    assert refusal.value.retry_after > 0
    # Neither who was good here before, nor who comes from elsewhere.
    await keys.check(used, RESOURCE, "infer", source=HERE)
    await keys.check(unused, RESOURCE, "infer", source="192.0.2.2")


async def test_the_last_use_is_written_once_a_minute(
    keys: BearerKeys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, text = await make(keys)
    assert await last_used(keys) is None
    await keys.check(text, RESOURCE, "infer", source=HERE)
    first = await last_used(keys)
    assert first is not None
    writes = 0
    run = database.run

    async def counted(work: object) -> object:
        nonlocal writes
        writes += 1
        return await run(work)  # type: ignore[arg-type]

    monkeypatch.setattr(database, "run", counted)
    for _ in range(50):
        await keys.check(text, RESOURCE, "infer", source=HERE)
    # Another process, which used none of them yet, reads when that was.
    await BearerKeys(database, TABLE).check(text, RESOURCE, "infer", source=HERE)
    assert (writes, await last_used(keys)) == (0, first)
    monkeypatch.setattr(module, "_USE_EVERY", timedelta(0))
    await keys.check(text, RESOURCE, "infer", source=HERE)
    assert writes == 1


async def test_keys_are_listed_and_revoked_by_their_owner(keys: BearerKeys) -> None:
    made = [(await make(keys))[0] for _ in range(5)]
    await make(keys, "bob")
    first = await keys.page(PageQuery(limit=3), owner="alice")
    assert first.next
    asked = PageQuery(limit=3, cursor=first.next)
    rest = await keys.page(asked, owner="alice")
    assert [key.id for key in (*first.entries, *rest.entries)] == made[::-1]
    assert len((await keys.page(PageQuery(), resource=RESOURCE)).entries) == 6
    assert (await keys.page(PageQuery(), resource="other")).entries == ()
    with pytest.raises(NotThere):
        await keys.revoke(made[0], "bob")
    await keys.revoke(made[0], "alice")
    with pytest.raises(NotThere):
        await keys.revoke(made[0], "alice")


async def test_listeners_hear_of_each_change(keys: BearerKeys) -> None:
    heard: list[int] = []
    keys.listen(lambda: heard.append(1))
    key_id, _ = await make(keys)
    await make(keys, "bob")
    await keys.revoke(key_id, "alice")
    assert await keys.owners() == {"bob"}
    assert await keys.revoke_all(owner="bob") == 1
    assert await keys.revoke_all(owner="bob") == 0
    assert len(heard) == 4
    assert await keys.live() == {}
    with pytest.raises(ValueError, match="whose"):
        await keys.revoke_all()


async def test_an_owner_has_so_many_and_old_ones_are_forgotten(
    keys: BearerKeys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    await make(keys, expires=soon(-1))
    first, _ = await make(keys)
    await make(keys)
    with pytest.raises(TooMany):
        await make(keys)
    await keys.revoke(first, "alice")
    await make(keys)
    count = sa.select(sa.func.count()).select_from(TABLE)
    assert await database.read(lambda c: c.scalar(count)) == 4
    await keys.forget(soon(0))
    assert await database.read(lambda c: c.scalar(count)) == 2
