"""The table of what jobs start."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "landbridge_job_launches",
        sa.Column(
            "name",
            sa.String(64),
            sa.ForeignKey("landbridge_jobs.name", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("sealed", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("landbridge_job_launches")
