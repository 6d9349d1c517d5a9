"""The table of what jobs used."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "landbridge_job_usage",
        sa.Column("user_name", sa.String(255), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("title", sa.String(120), nullable=False),
        sa.Column("started", time, nullable=False),
        sa.Column("until", time, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("cpus", sa.Integer, nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("memory", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_landbridge_job_usage_until", "landbridge_job_usage", ["until"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("landbridge_job_usage")
