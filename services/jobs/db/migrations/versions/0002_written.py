"""Which requests have had their records, so that none is carried out twice."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLE = "landbridge_job_requests"


def upgrade() -> None:
    """Add the column."""
    written = sa.Column(
        "written", sa.Boolean, nullable=False, server_default=sa.false()
    )
    op.add_column(_TABLE, written)


def downgrade() -> None:
    """Drop it."""
    with op.batch_alter_table(_TABLE) as table:
        table.drop_column("written")
