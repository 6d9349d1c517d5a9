"""Sessions of an earlier release's database, whose rights were words in a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection

from services.storage.access.sessions import Sessions
from services.storage.access.shares import Share
from services.storage.db import migrations as storage_migrations
from services.storage.db import tables
from services.storage.s3.values import AccessKey, Grant, Mode, Session
from spawners.common.database import Database, open_engine

MIGRATIONS = Path(storage_migrations.__file__).parent
ENDS = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
SHARE = Share(
    "5ha4e", Grant("alice", "", Mode.READ), "alice", "group", "lab", ENDS, ENDS
)
WORDS = {
    "own": [],
    "shared": ["5ha4e", "group:alice:lab"],
    "member": ["group:group-lab:lab", 'group:group-odd:a:b"%_é', "group:site:lab"],
    "gone": ["0dead"],
}
GRANTS = {
    "own": [["bob", "", "read-write"]],
    "shared": [["alice", "", "read"], ["bob", "", "read-write"]],
    "member": [
        ["group-lab", "", "read-write"],
        ["group-odd", "", "read-write"],
        ["site", "a/", "read"],
    ],
    "gone": [["carol", "", "read"]],
}


class Ends:
    """Gives no keys, and remembers what ended."""

    name = "sts"

    def __init__(self, *, by_bucket: bool = True) -> None:
        self.by_bucket = by_bucket
        self.ended: set[tuple[str, tuple[str, ...]]] = set()

    async def issue(
        self, user: str, grants: Sequence[Grant], lifetime: timedelta = timedelta()
    ) -> Session:
        return Session("new", "sts", AccessKey("a", "s"), tuple(grants), "arn", ENDS)

    async def revoke(self, session: Session, *, own: bool = False) -> None:
        buckets = tuple(grant.bucket for grant in session.grants)
        self.ended.add((session.name, buckets))

    async def escapes(self, session: Session) -> bool:
        return False

    async def tidy(self) -> int:
        return 0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'storage.sqlite'}"
    postgresql: str = request.getfixturevalue("postgresql_url")
    return postgresql


def _migrate(url: str, move: Callable[[Config, str], None], revision: str) -> None:
    engine = open_engine(url, 5, what="database")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        move(config, revision)
    engine.dispose()


def _with_connection(url: str, work: Callable[[Connection], None]) -> None:
    engine = open_engine(url, 5, what="database")
    with engine.begin() as connection:
        work(connection)
    engine.dispose()


@pytest.fixture
def old(url: str) -> str:
    """The URL of a database of the release before, with sessions of each kind."""
    _migrate(url, command.upgrade, "0003")
    sessions = sa.Table(
        "landbridge_storage_sessions",
        sa.MetaData(),
        *(sa.Column(column.name, column.type) for column in tables.sessions.columns),
        sa.Column("shares", sa.Text),
    )
    rows = [
        {
            "name": name,
            "user": "bob",
            "driver": "sts",
            "identity": "arn",
            "grants": json.dumps(GRANTS[name]),
            "shares": json.dumps(words),
            "purpose": "program",
            "created": datetime.now(UTC),
            "expires": ENDS,
            "revoked": None,
        }
        for name, words in WORDS.items()
    ]
    share = {
        "id": SHARE.id,
        "bucket": "alice",
        "prefix": '""',
        "mode": "read",
        "by": "alice",
        "kind": "group",
        "name": "lab",
        "created": datetime.now(UTC),
        "expires": ENDS,
        "revoked": None,
        "settled": False,
    }

    def write(connection: Connection) -> None:
        connection.execute(sa.insert(sessions), rows)
        connection.execute(sa.insert(tables.shares), [share])

    _with_connection(url, write)
    return url


async def _open(url: str) -> tuple[Database, Sessions]:
    database = await Database.open(url, MIGRATIONS, what="database")
    return database, Sessions(database)


async def test_what_earlier_keys_rest_on_ends_them_still(old: str) -> None:
    database, sessions = await _open(old)
    try:
        assert await sessions.users() == {"bob"}
        assert await sessions.by_groups() == {"lab": {"bob"}, 'a:b"%_é': {"bob"}}
        assert await sessions.of_others("alice", "alice") == ENDS
        assert await sessions.of_others("ali", "alice") is None

        driver = Ends()
        assert await sessions.end_share(driver, SHARE) == 1
        assert driver.ended == {("shared", ("alice",))}

        driver = Ends()
        await sessions.end_membership(driver, "bob", "lab")
        assert driver.ended == {
            ("shared", ("alice",)),
            ("member", ("group-lab",)),
            ("member", ("site",)),
        }
        assert await sessions.by_groups() == {'a:b"%_é': {"bob"}}
        # Whose keys know a bucket by its name is not forgotten with the membership.
        assert await sessions.of_others("group-lab", "alice") == ENDS

        driver = Ends(by_bucket=False)
        await sessions.end_membership(driver, "bob", 'a:b"%_é')
        assert {name for name, _ in driver.ended} == {"member"}
        assert await sessions.by_groups() == {}
        assert (await sessions.get("own", "bob")).session.grants == (
            Grant("bob", "", Mode.READ_WRITE),
        )

        await sessions.forget(ENDS + timedelta(seconds=1))
        left = sa.select(sa.func.count()).select_from(tables.session_rights)
        assert await database.read(lambda c: c.scalar(left)) == 0
    finally:
        await database.close()


async def test_a_downgrade_writes_the_words_again(old: str) -> None:
    database, _ = await _open(old)
    await database.close()
    _migrate(old, command.downgrade, "0003")
    words: dict[str, list[str]] = {}

    def read(connection: Connection) -> None:
        query = sa.text("SELECT name, shares FROM landbridge_storage_sessions")
        words.update(
            {row.name: json.loads(row.shares) for row in connection.execute(query)}
        )

    _with_connection(old, read)
    # A share that is gone could end nothing, so its word does not come back.
    assert words == WORDS | {"gone": []}
    _migrate(old, command.upgrade, "head")
    database, sessions = await _open(old)
    try:
        assert await sessions.end_share(Ends(), SHARE) == 1
    finally:
        await database.close()
