"""How sessions and identities lie in the database: of a session's id only the hash."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from spawners.common.database import UtcDateTime

VERSION_TABLE = "landbridge_sessions_version"
MIGRATIONS = Path(__file__).parent / "migrations"

metadata = sa.MetaData()

sessions = sa.Table(
    "landbridge_sessions",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("user_name", sa.String(255), nullable=False, index=True),
    sa.Column("made", UtcDateTime, nullable=False),
    sa.Column("seen", UtcDateTime, nullable=False),
    sa.Column("ends", UtcDateTime, nullable=False),
)

# Whose servers somebody has agreed to open in a session.
visits = sa.Table(
    "landbridge_visits",
    metadata,
    sa.Column(
        "session_key",
        sa.String(64),
        sa.ForeignKey("landbridge_sessions.key", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("owner", sa.String(255), primary_key=True),
    sa.Column("ends", UtcDateTime, nullable=False),
)

# Which identity of a provider signs in to an account; see hub/auth/identities.py.
identities = sa.Table(
    "landbridge_identities",
    metadata,
    sa.Column("user_name", sa.String(255), primary_key=True),
    sa.Column("issuer", sa.String(500), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("bound", UtcDateTime, nullable=False),
    sa.UniqueConstraint("issuer", "subject", name="uq_landbridge_identities"),
)
