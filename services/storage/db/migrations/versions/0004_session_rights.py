"""What sessions rest on in rows, instead of words in a text of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLE = "landbridge_storage_session_rights"
_GROUP = "group:"
_AT_ONCE = 500

_sessions = sa.table(
    "landbridge_storage_sessions",
    sa.column("name", sa.String),
    sa.column("grants", sa.Text),
    sa.column("shares", sa.Text),
)
_shares = sa.table(
    "landbridge_storage_shares",
    sa.column("id", sa.String),
    sa.column("bucket", sa.String),
)
_rights = sa.table(
    _TABLE,
    sa.column("session", sa.String),
    sa.column("bucket", sa.String),
    sa.column("kind", sa.String),
    sa.column("name", sa.String),
)


def upgrade() -> None:
    """Create the table, fill it from the words, and drop these."""
    op.create_table(
        _TABLE,
        sa.Column("session", sa.String(128), primary_key=True),
        sa.Column("bucket", sa.String(63), primary_key=True),
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
    )
    op.create_index(f"ix_{_TABLE}_on", _TABLE, ["kind", "name"])
    op.create_index(f"ix_{_TABLE}_bucket", _TABLE, ["bucket"])
    connection = op.get_bind()
    shares = sa.select(_shares.c.id, _shares.c.bucket)
    bucket_of = {row.id: row.bucket for row in connection.execute(shares)}
    rows = []
    for session in connection.execute(sa.select(_sessions)).all():
        rows += [
            {"session": session.name, "bucket": bucket, "kind": kind, "name": name}
            for bucket, kind, name in sorted(
                set(_of_words(session.grants, session.shares, bucket_of))
            )
        ]
    for start in range(0, len(rows), _AT_ONCE):
        connection.execute(sa.insert(_rights), rows[start : start + _AT_ONCE])
    op.drop_column("landbridge_storage_sessions", "shares")


def _of_words(
    grants: str, words: str, bucket_of: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield bucket, kind and name of each thing that a session rests on.

    A share whose row is gone, as its bucket is, cannot be ended any more.
    """
    for bucket, *_ in json.loads(grants):
        yield bucket, "grant", ""
    for word in json.loads(words):
        if word.startswith(_GROUP):
            bucket, _, group = word.removeprefix(_GROUP).partition(":")
            yield bucket, "group", group
        elif word in bucket_of:
            yield bucket_of[word], "share", word


def downgrade() -> None:
    """Write the words again, and drop the table."""
    op.add_column(
        "landbridge_storage_sessions",
        sa.Column("shares", sa.Text, nullable=False, server_default="[]"),
    )
    connection = op.get_bind()
    words: dict[str, set[str]] = {}
    ends = sa.select(_rights).where(_rights.c.kind.in_(["share", "group"]))
    for row in connection.execute(ends):
        group = f"{_GROUP}{row.bucket}:{row.name}"
        word = row.name if row.kind == "share" else group
        words.setdefault(row.session, set()).add(word)
    for session, of_it in words.items():
        connection.execute(
            sa.update(_sessions)
            .where(_sessions.c.name == session)
            .values(shares=json.dumps(sorted(of_it)))
        )
    op.drop_table(_TABLE)
