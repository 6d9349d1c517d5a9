"""The tables of the storage service."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _create_own()
    _create_tasks()
    _create_sharing()


def _create_own() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "landbridge_storage_audit",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
        ),
        sa.Column("at", time, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("bucket", sa.String(63), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index(
        "ix_landbridge_storage_audit_actor", "landbridge_storage_audit", ["actor"]
    )
    op.create_index(
        "ix_landbridge_storage_audit_bucket", "landbridge_storage_audit", ["bucket"]
    )
    op.create_table(
        "landbridge_storage_buckets",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("created", time, nullable=False),
    )
    op.create_index(
        "ix_landbridge_storage_buckets_owner", "landbridge_storage_buckets", ["owner"]
    )


def _create_tasks() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "landbridge_storage_tasks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("updated", time, nullable=False),
        sa.Column("cursor", sa.Text, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger),
        sa.Column("bytes_done", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Text, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("cancel_wanted", sa.Boolean, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_index(
        "ix_landbridge_storage_tasks_phase", "landbridge_storage_tasks", ["phase"]
    )
    op.create_index(
        "ix_landbridge_storage_tasks_user", "landbridge_storage_tasks", ["user"]
    )
    op.create_table(
        "landbridge_storage_usage",
        sa.Column("bucket", sa.String(63), primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("objects", sa.BigInteger, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("measured", time, nullable=False),
        sa.Column("promised", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "landbridge_storage_uploads",
        sa.Column("upload_id", sa.String(1024), primary_key=True),
        sa.Column("bucket", sa.String(63), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("part_size", sa.BigInteger, nullable=False),
        sa.Column("created", time, nullable=False),
    )


def _create_sharing() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "landbridge_storage_links",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("bucket", sa.String(63), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("expires", time, nullable=False),
        sa.Column("revoked", time),
        sa.Column("uses", sa.BigInteger, nullable=False),
        sa.Column("last_used", time),
    )
    op.create_index(
        "ix_landbridge_storage_links_by", "landbridge_storage_links", ["by"]
    )
    op.create_table(
        "landbridge_storage_sessions",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("driver", sa.String(32), nullable=False),
        sa.Column("identity", sa.String(512), nullable=False),
        sa.Column("grants", sa.Text, nullable=False),
        sa.Column("shares", sa.Text, nullable=False),
        sa.Column("purpose", sa.String(80), nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("expires", time),
        sa.Column("revoked", time),
    )
    op.create_index(
        "ix_landbridge_storage_sessions_user", "landbridge_storage_sessions", ["user"]
    )
    op.create_table(
        "landbridge_storage_shares",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("bucket", sa.String(63), nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("expires", time, nullable=False),
        sa.Column("revoked", time),
        sa.Column("settled", sa.Boolean, nullable=False),
    )
    op.create_index(
        "ix_landbridge_storage_shares_bucket", "landbridge_storage_shares", ["bucket"]
    )
    op.create_index(
        "ix_landbridge_storage_shares_by", "landbridge_storage_shares", ["by"]
    )
    op.create_index(
        "ix_landbridge_storage_shares_to", "landbridge_storage_shares", ["kind", "name"]
    )


def downgrade() -> None:
    """Drop the tables."""
    names = (
        "tasks",
        "audit",
        "uploads",
        "links",
        "shares",
        "sessions",
        "usage",
        "buckets",
    )
    for name in names:
        op.drop_table(f"landbridge_storage_{name}")
