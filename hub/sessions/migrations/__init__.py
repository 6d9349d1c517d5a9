"""The steps by which the tables of sessions came to what they are, run by Alembic."""
