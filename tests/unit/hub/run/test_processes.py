"""The table of processes, and the units that are written from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.config.settings import Settings, load_settings
from hub.run.processes import environment_of, process_spec, process_specs
from hub.run.units import write_units
from services.common.app import Environment
from services.common.own_token import take_token
from services.jobs.settings import Site
from spawners.common.ownership import NotOurs
from spawners.common.settings import ConfigError

LOCAL = Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", 8001)
OURS = {"PATH": "/bin", "LANDBRIDGE_PASSWORD": "secret", "LANDBRIDGE_ADMIN_TOKEN": "t"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    return load_settings(
        {"LANDBRIDGE_CONFIG": str(path), "LANDBRIDGE_STATE": str(tmp_path / "var")}
    )


def without(settings: Settings, section: str) -> Settings:
    off = getattr(settings, section).model_copy(update={"enabled": False})
    if section in settings.services:
        return replace(settings, services={**settings.services, section: off})
    return replace(settings, **{section: off})


def test_each_process_needs_only_what_is_started_before_it(settings):
    started: set[str] = set()
    for spec in process_specs(settings):
        assert set(spec.needs) <= started, spec.name
        assert spec.why
        started.add(spec.name)
    assert started == {"jobs", "edge", "hub", "storage", "culler"}


def test_what_is_switched_off_is_no_process(settings):
    bare = without(without(settings, "storage"), "culling")
    assert [spec.name for spec in process_specs(bare)] == ["jobs", "edge", "hub"]
    assert process_spec(bare, "storage") is None


def test_secrets_are_in_the_environment_of_the_hub_alone(settings):
    for spec in process_specs(settings):
        told = environment_of(spec, settings, LOCAL, OURS, password="secret")
        has = {name for name in told if told[name] in ("secret", "t")}
        wanted = {"LANDBRIDGE_PASSWORD", "LANDBRIDGE_ADMIN_TOKEN"}
        assert has == (wanted if spec.name == "hub" else set()), spec.name
        assert told["LANDBRIDGE_STATE"] == str(settings.state)
        assert told["LANDBRIDGE_SCHEDULER"] == "local"


def test_a_service_finds_its_place_and_its_token(settings):
    spec = process_spec(settings, "storage")
    told = environment_of(spec, settings, LOCAL, OURS)
    place = Environment.of(told)
    assert place.socket == spec.socket
    assert place.prefix == "/services/storage/"
    assert (place.base_url, place.hub, place.pages) == ("/", "/hub/", "")
    file = Path(told["LANDBRIDGE_TOKEN_FILE"])
    file.parent.mkdir(parents=True, mode=0o700)
    file.write_text("a-token\n")
    file.chmod(0o644)
    with pytest.raises(NotOurs):
        take_token(dict(told))
    file.chmod(0o600)
    take_token(told)
    assert told["JUPYTERHUB_API_TOKEN"] == "a-token"


def test_at_a_host_of_its_own_a_service_signs_people_in_there(settings):
    hub = settings.hub.model_copy(update={"subdomains": "hub.localhost"})
    spec = process_spec(replace(settings, hub=hub), "storage")
    place = Environment.of(environment_of(spec, settings, LOCAL, OURS))
    host = "http://storage--service.hub.localhost:8000"
    assert place.pages == f"{host}/services/storage/"
    assert place.hub == "http://hub.localhost:8000/hub/"
    told = spec.environment
    assert told["JUPYTERHUB_HOST"] == "http://hub.localhost:8000"
    callback = f"{host}/services/storage/oauth_callback"
    assert told["JUPYTERHUB_OAUTH_CALLBACK_URL"] == callback


def test_the_culler_is_told_how_long_is_too_long(settings):
    assert "--timeout=7200" in process_spec(settings, "culler").command


def test_units_are_the_table(settings, tmp_path):
    lines: list[str] = []
    write_units(settings, str(tmp_path), lines.append)
    names = {spec.name for spec in process_specs(settings)}
    files = {file.name for file in tmp_path.glob("landbridge*")}
    assert files == {f"landbridge-{name}.service" for name in names} | {
        "landbridge.target"
    }
    for name in names:
        text = (tmp_path / f"landbridge-{name}.service").read_text()
        assert f'/landbridge" {name}\n' in text
        for line in ("Restart=always", "StartLimitIntervalSec=0", "KillMode=process"):
            assert f"{line}\n" in text
        assert f'Environment="LANDBRIDGE_CONFIG={settings.path}"\n' in text
        assert f'Environment="LANDBRIDGE_STATE={settings.state}"\n' in text
        assert f"WorkingDirectory=-{settings.state}\n" in text
        assert "TOKEN" not in text
    target = (tmp_path / "landbridge.target").read_text()
    for name in names:
        assert f"landbridge-{name}.service" in target


def test_systemd_understands_paths_of_any_characters(settings, tmp_path):
    state = tmp_path / 'a state of 100% "ours"'
    write_units(replace(settings, state=state), str(tmp_path), lambda line: None)
    text = (tmp_path / "landbridge-hub.service").read_text()
    escaped = str(tmp_path / "a state of 100%% ")
    assert f'Environment="LANDBRIDGE_STATE={escaped}\\"ours\\""\n' in text
    assert f'WorkingDirectory=-{escaped}"ours"\n' in text


def test_units_need_a_file_of_settings(settings):
    with pytest.raises(ConfigError, match="LANDBRIDGE_CONFIG"):
        write_units(replace(settings, path=None), "", print)
