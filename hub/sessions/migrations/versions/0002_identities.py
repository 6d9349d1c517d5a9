"""The table of the identities that accounts are bound to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "landbridge_identities",
        sa.Column("user_name", sa.String(255), primary_key=True),
        sa.Column("issuer", sa.String(500), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("bound", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("issuer", "subject", name="uq_landbridge_identities"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("landbridge_identities")
