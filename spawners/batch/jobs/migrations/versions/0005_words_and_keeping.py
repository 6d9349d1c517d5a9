"""How a job is called, and what is kept of it once it is over."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; jobs of before are servers, whose newest record is kept."""
    op.add_column("landbridge_jobs", sa.Column("vocabulary", sa.Text))
    op.add_column(
        "landbridge_jobs",
        sa.Column("retain", sa.String(16), nullable=False, server_default="newest"),
    )


def downgrade() -> None:
    """Drop the columns."""
    with op.batch_alter_table("landbridge_jobs") as table:
        table.drop_column("retain")
        table.drop_column("vocabulary")
