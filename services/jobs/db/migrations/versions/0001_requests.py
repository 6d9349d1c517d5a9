"""The tables of requests and of jobs' tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "landbridge_job_requests",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("client", sa.String(330), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        sa.Column("created", time, nullable=False),
    )
    op.create_index(
        "ix_landbridge_job_requests_created", "landbridge_job_requests", ["created"]
    )
    op.create_table(
        "landbridge_job_tokens",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("created", time, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("landbridge_job_tokens")
    op.drop_table("landbridge_job_requests")
