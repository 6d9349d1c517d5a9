"""How the storage service's own facts lie in its database.

No secret and no object's content is in here: of keys that were given out the name,
of a public link the hash, of a user's own key what only the key file can open.
"""

from __future__ import annotations

import sqlalchemy as sa

from services.common.background.tasks import tasks_table
from spawners.common.database import UtcDateTime

VERSION_TABLE = "landbridge_storage_version"

metadata = sa.MetaData()

buckets = sa.Table(
    "landbridge_storage_buckets",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("owner", sa.String(255), nullable=False, index=True),
    sa.Column("created", UtcDateTime, nullable=False),
)

usage = sa.Table(
    "landbridge_storage_usage",
    metadata,
    sa.Column("bucket", sa.String(63), primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("objects", sa.BigInteger, nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
    sa.Column("measured", UtcDateTime, nullable=False),
)

# Room for objects that were allowed and that no measurement has seen yet.
promises = sa.Table(
    "landbridge_storage_promises",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("bucket", sa.String(63), nullable=False, index=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("until", UtcDateTime, nullable=False),
)

sessions = sa.Table(
    "landbridge_storage_sessions",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("user", sa.String(255), nullable=False, index=True),
    sa.Column("driver", sa.String(32), nullable=False),
    sa.Column("identity", sa.String(512), nullable=False),
    sa.Column("grants", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(80), nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("expires", UtcDateTime),
    sa.Column("revoked", UtcDateTime),
)

# What a session knows and rests on: each bucket that it was granted (`grant`, without
# a name), and the shares (`share`, by id) and memberships (`group`) with any of which
# it ends in their bucket. Rows go with their session by ``Sessions``, not by a
# foreign key: copying `sessions` for a change of it would take them along in SQLite.
session_rights = sa.Table(
    "landbridge_storage_session_rights",
    metadata,
    sa.Column("session", sa.String(128), primary_key=True),
    sa.Column("bucket", sa.String(63), primary_key=True, index=True),
    sa.Column("kind", sa.String(8), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
)
sa.Index(
    "ix_landbridge_storage_session_rights_on",
    session_rights.c.kind,
    session_rights.c.name,
)

shares = sa.Table(
    "landbridge_storage_shares",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("bucket", sa.String(63), nullable=False, index=True),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("by", sa.String(255), nullable=False, index=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=False),
    # When it ended before its time; what rests on it is revoked by then.
    sa.Column("revoked", UtcDateTime),
    sa.Column("settled", sa.Boolean, nullable=False),
)
sa.Index("ix_landbridge_storage_shares_to", shares.c.kind, shares.c.name)

uploads = sa.Table(
    "landbridge_storage_uploads",
    metadata,
    sa.Column("upload_id", sa.String(1024), primary_key=True),
    sa.Column("bucket", sa.String(63), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("user", sa.String(255), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("part_size", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
)

links = sa.Table(
    "landbridge_storage_links",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("bucket", sa.String(63), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("by", sa.String(255), nullable=False, index=True),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=False),
    sa.Column("revoked", UtcDateTime),
    sa.Column("uses", sa.BigInteger, nullable=False),
    sa.Column("last_used", UtcDateTime),
)

audit = sa.Table(
    "landbridge_storage_audit",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False, index=True),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("bucket", sa.String(63), nullable=False, index=True),
    sa.Column("detail", sa.Text, nullable=False),
)

# Keys that users brought, each encrypted for its user by a key that is not in here.
keys = sa.Table(
    "landbridge_storage_keys",
    metadata,
    sa.Column("user", sa.String(255), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
)

tasks = tasks_table("landbridge_storage_tasks", metadata)
