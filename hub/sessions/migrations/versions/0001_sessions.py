"""The tables of live sessions and of the visits that were confirmed in them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "landbridge_sessions",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("user_name", sa.String(255), nullable=False, index=True),
        sa.Column("made", time, nullable=False),
        sa.Column("seen", time, nullable=False),
        sa.Column("ends", time, nullable=False),
    )
    op.create_table(
        "landbridge_visits",
        sa.Column(
            "session_key",
            sa.String(64),
            sa.ForeignKey("landbridge_sessions.key", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("owner", sa.String(255), primary_key=True),
        sa.Column("ends", time, nullable=False),
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("landbridge_visits")
    op.drop_table("landbridge_sessions")
