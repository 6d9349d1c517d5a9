"""The tables of jobs and of their events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_LIVE = sa.text("phase IN ('intent', 'submitted')")


def upgrade() -> None:
    """Create both tables and what keeps an owner to one live job."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "landbridge_jobs",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("keeper", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(300), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("user_name", sa.String(255), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("resources", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("output", sa.Text),
        sa.Column("job", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("status_is_current", sa.Boolean, nullable=False),
        sa.Column("endpoint", sa.Text),
        sa.Column("cancel_wanted", time),
        sa.Column("failure", sa.Text),
        sa.Column("look_until", time),
        sa.Column("created", time, nullable=False),
        sa.Column("updated", time, nullable=False),
        sa.UniqueConstraint(
            "owner", "generation", name="uq_landbridge_jobs_generation"
        ),
    )
    op.create_index(
        "uq_landbridge_jobs_live",
        "landbridge_jobs",
        ["owner"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_index("ix_landbridge_jobs_open", "landbridge_jobs", ["keeper", "is_open"])
    op.create_table(
        "landbridge_job_events",
        sa.Column(
            "name",
            sa.String(64),
            sa.ForeignKey("landbridge_jobs.name", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", time, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("landbridge_job_events")
    op.drop_table("landbridge_jobs")
