"""One PostgreSQL database for the hub, the jobs and the storage service."""

from __future__ import annotations

from pathlib import Path

import psycopg

from rigs.hub.process import running_hub, until
from rigs.notebooks.on_hub import browser


def test_one_postgresql_holds_everything(shared: Path, postgresql_url: str) -> None:
    settings = shared / "gateway.toml"
    settings.write_text(f'[database]\nurl = "{postgresql_url}"\n')
    with running_hub(shared, LANDBRIDGE_CONFIG=str(settings)) as hub:
        hub.add_user("ann")
        hub.start_server("ann")
        job = hub.wait_state("ann", "ready")["job"]["id"]
        with browser(hub, "ann") as page:
            hub.kill()
            hub.start()
            # She is still signed in, and is not any more when she has signed out.
            assert page.get("/hub/home").url.path == "/hub/home"
            page.get("/hub/logout")
            assert page.get("/hub/home").url.path == "/hub/login"
        assert hub.wait_state("ann", "ready", seconds=10)["job"]["id"] == job
        until("it answers", lambda: hub.answers("ann"))
        until(
            "storage works",
            lambda: hub.api.get("/services/storage/health").status_code == 200,
        )
        hub.stop_server("ann")
        hub.wait_state("ann", "stopped")
        assert not list((hub.state / "db").glob("*.sqlite"))
        plain = postgresql_url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(plain) as database:
            found = database.execute(
                "select tablename from pg_tables where schemaname = 'public'"
            ).fetchall()
            assert (
                database.execute("select * from landbridge_sessions").fetchall() == []
            )
    tables = {name for (name,) in found}
    assert {"spawners", "landbridge_jobs", "alembic_version"} <= tables
    assert {"landbridge_sessions", "landbridge_identities"} <= tables
    # JupyterHub, its sessions, the records of jobs, the jobs service and the storage
    # service: each of the five knows its own version of the schema.
    assert sum("version" in name for name in tables) == 5
