"""The keys of the requests that lines of jobs' stories came by."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; nobody asks again for a line of before."""
    op.add_column(
        "landbridge_job_events",
        sa.Column("request_key", sa.String(64), nullable=False, server_default=""),
    )


def downgrade() -> None:
    """Drop the column."""
    with op.batch_alter_table("landbridge_job_events") as table:
        table.drop_column("request_key")
