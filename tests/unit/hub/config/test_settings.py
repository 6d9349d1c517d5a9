"""The settings file and the environment, and what is refused."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from hub.config.sections import SECTIONS
from hub.config.settings import CHECKOUT, find_file, is_loopback, load_settings
from spawners.common.settings import ConfigError

STORE = '[storage]\nendpoint = "http://127.0.0.1:9000"\nkey_file = "k"\n'


@pytest.fixture
def load(tmp_path):
    """Load settings from the text of a file, with further variables."""

    def run(text: str = "", **variables: str):
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        base = {"LANDBRIDGE_CONFIG": str(path), "LANDBRIDGE_STATE": str(tmp_path)}
        return load_settings({**base, **variables})

    return run


def test_an_empty_file_is_a_whole_configuration(load, tmp_path):
    settings = load()
    assert settings.hub.port == 8000
    assert settings.auth.kind == "demo"
    assert settings.scheduler.kind == "auto"
    assert settings.url == "http://127.0.0.1:8000/"
    assert settings.state == tmp_path
    assert settings.folder == tmp_path


def test_the_shipped_file_changes_nothing():
    shipped = load_settings(
        {"LANDBRIDGE_CONFIG": str(CHECKOUT / "config/gateway.toml")}
    )
    for name, section in SECTIONS.items():
        assert getattr(shipped, name) == section()


def test_the_environment_comes_before_the_file(load):
    text = '[hub]\nport = 1234\nstate = "elsewhere"\n[scheduler]\nkind = "slurm"\n'
    settings = load(
        text,
        LANDBRIDGE_PORT="4321",
        LANDBRIDGE_STATE="/srv/state",
        LANDBRIDGE_SCHEDULER="local",
        LANDBRIDGE_ENVIRONMENT="/opt/lab",
        LANDBRIDGE_PASSWORD="open sesame",
        LANDBRIDGE_ADMIN_TOKEN="0123456789abcdef",
    )
    assert settings.hub.port == 4321
    assert settings.state == Path("/srv/state")
    assert settings.scheduler.kind == "local"
    assert settings.jobs.environment == "/opt/lab"
    assert settings.password == "open sesame"
    assert settings.admin_token == "0123456789abcdef"


def test_secrets_are_not_in_the_repr(load):
    settings = load(LANDBRIDGE_PASSWORD="hush-hush", LANDBRIDGE_ADMIN_TOKEN="tok-en-00")
    assert "hush-hush" not in repr(settings)
    assert "tok-en-00" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[hubb]\n", ["hubb", "hub"]),
        ("[hub]\nprot = 1\n", ["prot", "port"]),
        ('[hub]\nport = "many"\n', ["port", "many"]),
        ("[hub]\nport = 70000\n", ["port", "70000"]),
        ('[hub]\nbase_url = "x"\n', ["base_url", "start and end"]),
        ('[hub]\npublic_url = "gateway"\n', ["public_url", "https://"]),
        ('[hub.tls]\ncertificate = "c.pem"\n', ["tls", "together"]),
        ('[auth]\nkind = "none"\n', ["kind", "demo", "oidc"]),
        ('[auth]\nkind = "oidc"\n', ["oidc.client_id"]),
        ('[culling]\nidle_after = "soon"\n', ["idle_after", "2h"]),
        ('[storage]\ncredentials = "magic"\n', ["credentials", "pasted", "sts"]),
        ('[storage]\ncredentials = "pasted"\n', ["pasted", "needs endpoint"]),
        (f'{STORE}credentials = "sts"\n', ["sts", "needs role_arn"]),
        (f'{STORE}credentials = "keys"\nrole_arn = "r"\n', ["role_arn", "no use"]),
        ('[storage]\nendpoint = "http://s"\n', ["endpoint needs key_file"]),
        (
            f'{STORE}credentials = "web-identity"\nrole_arn = "r"\n',
            ["web-identity", "auth.kind = oidc"],
        ),
        (f'{STORE}route = "direct"\n', ["direct", "another host name"]),
        ("hub = 1\n", ["hub", "section"]),
        ("[hub\n", ["TOML"]),
        ("[auth.oidc]\nfoo = 1\n", ["auth.oidc", "foo"]),
    ],
)
def test_a_fault_is_named_with_file_key_and_what_is_allowed(load, text, words):
    with pytest.raises(ConfigError) as caught:
        load(text)
    message = str(caught.value)
    assert "gateway.toml" in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_section_refuses_a_key_that_it_does_not_know(load, name):
    with pytest.raises(ConfigError, match="surprise"):
        load(f"[{name}]\nsurprise = 1\n")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LANDBRIDGE_PORT", "0"),
        ("LANDBRIDGE_PORT", "eighty"),
        ("LANDBRIDGE_PORT", "99999"),
        ("LANDBRIDGE_SCHEDULER", "pbs"),
        ("LANDBRIDGE_ADMIN_TOKEN", "short"),
    ],
)
def test_a_wrong_variable_is_named(load, variable, value):
    with pytest.raises(ConfigError, match=variable):
        load(**{variable: value})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load_settings({"LANDBRIDGE_CONFIG": str(tmp_path / "nowhere.toml")})


def test_the_demo_password_stays_on_loopback(load):
    with pytest.raises(ConfigError, match="allow_insecure"):
        load('[hub]\nbind_address = "0.0.0.0"\n')
    load('[hub]\nbind_address = "0.0.0.0"\nallow_insecure = true\n')


def test_passwords_do_not_cross_the_network_in_clear(load):
    base = '[auth]\nkind = "pam"\n[hub]\nbind_address = "10.0.0.1"\n'
    with pytest.raises(ConfigError, match="in clear"):
        load(base)
    load(base + 'public_url = "https://gateway.example.org"\n')


def test_nobody_becomes_administrator_by_the_demo_password(load):
    with pytest.raises(ConfigError, match="LANDBRIDGE_ADMIN_TOKEN"):
        load('[hub]\nadmin_users = ["ada"]\n')


def test_the_url_follows_the_settings(load):
    assert load('[hub]\nbase_url = "/g/"\n').url == "http://127.0.0.1:8000/g/"
    assert load('[hub]\nbind_address = "::1"\n').url == "http://[::1]:8000/"
    text = '[hub]\npublic_url = "https://g.example.org/"\n'
    assert load(text).url == "https://g.example.org/"


def test_durations_are_spans(load):
    settings = load(
        '[culling]\nidle_after = "90min"\n[jobs]\nqueue_timeout = "1d 12h"\n'
    )
    assert settings.culling.idle_after == timedelta(minutes=90)
    assert settings.jobs.queue_timeout == timedelta(hours=36)


def test_no_variable_means_the_checkouts_file():
    assert find_file({}) == CHECKOUT / "config" / "gateway.toml"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_known(address):
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "gateway"])
def test_the_network_is_not_loopback(address):
    assert not is_loopback(address)


def test_the_sample_is_valid_with_every_hash_taken_away():
    lines = (CHECKOUT / "config" / "gateway.toml").read_text().splitlines()
    opened = [
        line[1:] if line.startswith("#") and not line.startswith("# ") else line
        for line in lines
        if not line.endswith(" =")
    ]
    tables = tomllib.loads("\n".join(opened))
    for name, section in SECTIONS.items():
        assert section.model_validate(tables[name]) == section()
