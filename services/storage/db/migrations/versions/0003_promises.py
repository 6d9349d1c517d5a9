"""Promises of room one by one, instead of their sum."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and drop the sum."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "landbridge_storage_promises",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("bucket", sa.String(63), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("until", time, nullable=False),
    )
    op.create_index(
        "ix_landbridge_storage_promises_bucket",
        "landbridge_storage_promises",
        ["bucket"],
    )
    op.drop_column("landbridge_storage_usage", "promised")
