"""What the settings become in JupyterHub's terms."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from dataclasses import replace

import pytest
from traitlets.config import Config

from hub.assemble import assemble, run_snippets
from hub.config import paths as places
from hub.config.settings import load_settings
from hub.roles import ROLES, service_role
from services.jobs.settings import Site
from services.storage.registration import SERVICE as STORAGE
from spawners.common.settings import ConfigError

LOCAL = Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", 8001)


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_text("")
    return load_settings(
        {
            "LANDBRIDGE_CONFIG": str(path),
            "LANDBRIDGE_STATE": str(tmp_path / "var"),
            "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
        }
    )


def assembled(settings, site=LOCAL) -> Config:
    c = Config()
    assemble(c, settings, site)
    return c


def test_twice_is_the_same_as_once(settings):
    once, twice = Config(), Config()
    assemble(once, settings, LOCAL)
    assemble(twice, settings, LOCAL)
    assemble(twice, settings, LOCAL)
    assert once == twice


def test_what_a_site_set_before_is_replaced_not_extended(settings):
    c = Config()
    c.JupyterHub.services = [{"name": "other"}]
    assemble(c, settings, LOCAL)
    assert "other" not in [service["name"] for service in c.JupyterHub.services]


def test_the_hub_listens_on_a_socket_that_only_its_account_reaches(settings):
    c = assembled(settings)
    assert c.JupyterHub.hub_bind_url.startswith("http+unix://")
    assert c.JupyterHub.hub_socket_mode == 0o600
    directory = places.hub_socket(settings).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_deep_state_directory_gets_a_short_socket(settings, tmp_path):
    deep = replace(settings, state=tmp_path / ("d" * 100) / "var")
    path = places.hub_socket(deep)
    try:
        assert len(str(path)) < 100
        assert places.hub_socket(deep) == path
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        path.parent.rmdir()


def test_secrets_are_files_that_only_the_hub_reads(settings):
    c = assembled(settings)
    for path in (settings.state / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert c.JupyterHub.cookie_secret_file == str(
        settings.state / "secrets" / "cookie-secret"
    )


def test_waiting_in_the_queue_holds_no_spawn_slot(settings):
    assert assembled(settings).JupyterHub.concurrent_spawn_limit == 0


def test_a_hub_that_goes_down_leaves_servers_alone(settings):
    assert assembled(settings).JupyterHub.cleanup_servers is False


def test_no_service_is_the_hubs_child_and_each_has_a_token_of_its_own(settings):
    services = assembled(settings).JupyterHub.services
    assert not any("command" in service for service in services)
    tokens = [service["api_token"] for service in services]
    assert len(set(tokens)) == len(tokens) == 4
    for name in ("storage", "idle-culler", "metrics"):
        file = settings.state / "secrets" / f"service-{name}.token"
        assert file.read_text() in tokens
    assert assembled(settings).JupyterHub.services == services


def test_every_service_has_the_scopes_of_the_table_and_no_others(settings):
    c = assembled(settings)
    given = {role["name"]: role for role in c.JupyterHub.load_roles}
    declared = service_role(STORAGE, settings.storage)
    for role in (*ROLES, declared):
        assert given[f"landbridge-{role.service}"]["scopes"] == list(role.scopes)
        assert role.why
    assert "admin" not in given


def test_only_a_store_that_trusts_the_provider_gives_storage_the_sign_ins(settings):
    storage = settings.storage.model_copy(update={"credentials": "web-identity"})
    c = assembled(replace(settings, services={"storage": storage}))
    given = {role["name"]: role["scopes"] for role in c.JupyterHub.load_roles}
    usual = service_role(STORAGE, settings.storage).scopes
    assert given["landbridge-storage"] == [*usual, "admin:auth_state"]
    assert "admin:auth_state" not in usual


def test_the_admin_token_gets_the_admin_role(settings):
    c = assembled(replace(settings, admin_token="0123456789abcdef"))
    admin = next(r for r in c.JupyterHub.load_roles if r["name"] == "admin")
    assert admin == {"name": "admin", "services": ["admin-token"]}
    tokens = {s["name"]: s.get("api_token") for s in c.JupyterHub.services}
    assert tokens["admin-token"] == "0123456789abcdef"


def test_culling_follows_its_section(settings):
    assert _culler(settings) is not None
    off = settings.culling.model_copy(update={"enabled": False})
    assert _culler(replace(settings, culling=off)) is None


def _culler(settings):
    services = assembled(settings).JupyterHub.services
    return next((s for s in services if s["name"] == "idle-culler"), None)


def test_pages_may_not_be_framed_by_other_sites(settings):
    policy = assembled(settings).JupyterHub.tornado_settings["headers"][
        "Content-Security-Policy"
    ]
    assert "frame-ancestors 'none'" in policy
    assert "object-src 'none'" in policy
    assert "connect-src 'self';" in policy, "no socket to any host"


def test_tokens_do_not_live_forever(settings):
    assert assembled(settings).JupyterHub.token_expires_in_max_seconds == 90 * 86_400


def test_the_database_is_a_file_of_the_state_or_the_sites_own(settings):
    c = assembled(settings)
    assert c.JupyterHub.db_url == f"sqlite:///{settings.state}/db/jupyterhub.sqlite"
    url = "postgresql+psycopg://hub@db/landbridge"
    ours = settings.database.model_copy(update={"url": url})
    assert assembled(replace(settings, database=ours)).JupyterHub.db_url == url


def test_the_hubs_sqlite_file_keeps_a_write_ahead_log(settings):
    path = assembled(settings).JupyterHub.db_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_no_database_is_named(settings):
    (settings.state / "db").mkdir(parents=True)
    (settings.state / "db" / "jupyterhub.sqlite").write_text("no database" * 100)
    with pytest.raises(ConfigError, match=r"jupyterhub\.sqlite"):
        assembled(settings)


def test_snippets_come_last_and_in_order(tmp_path):
    (tmp_path / "20-second.py").write_text("c.JupyterHub.port = 2\n")
    (tmp_path / "10-first.py").write_text("c.JupyterHub.port = 1\nc.A.b = 3\n")
    c = Config()
    run_snippets(c, tmp_path)
    assert c.JupyterHub.port == 2
    assert c.A.b == 3


def test_a_broken_snippet_is_named(tmp_path):
    (tmp_path / "10-broken.py").write_text("c.JupyterHub.port = 1 / 0\n")
    with pytest.raises(ConfigError, match=r"10-broken\.py: ZeroDivisionError"):
        run_snippets(Config(), tmp_path)


def test_no_snippets_are_no_error(tmp_path):
    run_snippets(Config(), tmp_path / "nothing")


def test_a_state_directory_that_is_a_file_is_named(settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="state directory"):
        assembled(replace(settings, state=tmp_path / "file"))


def test_a_certificate_that_cannot_be_used_is_named(settings, tmp_path):
    (tmp_path / "c.pem").write_text("nonsense")
    tls = settings.hub.tls.model_copy(update={"certificate": "c.pem", "key": "c.pem"})
    hub = settings.hub.model_copy(update={"tls": tls})
    with pytest.raises(ConfigError, match=r"c\.pem"):
        places.check_certificate(replace(settings, hub=hub))
