"""Who may sign in, by which proof, under which account."""

from __future__ import annotations

import getpass

import pytest
from tornado.web import HTTPError
from traitlets.config import Config

from hub import auth
from hub.auth import (
    AccountAuthenticator,
    DemoAuthenticator,
    account_groups,
    account_problem,
    assemble_auth,
)
from hub.detect import Site
from hub.oidc import OidcAuthenticator, read_secret
from hub.settings import load_settings
from spawners.settings import ConfigError

LOCAL = Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", 8001)
SLURM = Site("slurm", "root", "munge", True, "hub", "0.0.0.0", 8001)

OIDC = """
[auth]
kind = "oidc"
[auth.oidc]
authorize_url = "https://id.example.org/authorize"
token_url = "https://id.example.org/token"
userinfo_url = "https://id.example.org/userinfo"
client_id = "landbridge"
client_secret_file = "secret"
username_suffix = "@example.org"
groups_claim = "groups"
allowed_groups = ["hpc"]
admin_groups = ["staff"]
"""


@pytest.fixture
def settings_from(tmp_path):
    def load(text: str = "", **variables: str):
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        (tmp_path / "secret").write_text("hush\n")
        (tmp_path / "secret").chmod(0o600)
        base = {"LANDBRIDGE_CONFIG": str(path), "LANDBRIDGE_STATE": str(tmp_path)}
        (tmp_path / "secrets").mkdir(exist_ok=True)
        return load_settings({**base, "LANDBRIDGE_PASSWORD": "sesame", **variables})

    return load


@pytest.fixture
def authenticator(settings_from):
    """Build the authenticator that a settings file leads to, as the hub does."""

    def build(text: str = "", site: Site = LOCAL):
        c = Config()
        assemble_auth(c, settings_from(text), site)
        return c.JupyterHub.authenticator_class(config=c)

    return build


async def sign_in(authenticator, name: str, password: str = "sesame"):
    data = {"username": name, "password": password}
    return await authenticator.get_authenticated_user(None, data)


async def test_the_demo_password_lets_any_valid_name_in(authenticator):
    demo = authenticator()
    assert isinstance(demo, DemoAuthenticator)
    model = await sign_in(demo, "ada")
    assert model["name"] == "ada"
    assert not model["admin"]


@pytest.mark.parametrize("password", ["", "Sesame", "sesame ", "sésame", "\0"])
async def test_another_password_lets_nobody_in(authenticator, password):
    assert await sign_in(authenticator(), "ada", password) is None


async def test_an_empty_password_setting_lets_nobody_in():
    assert await sign_in(DemoAuthenticator(allow_all=True), "ada", "") is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "-rf",
        "0day",
        "a b",
        "a/b",
        "a;b",
        "a\nb",
        "a\0b",
        "$(id)",
        "{{7*7}}",
        "ada@example.org",
        "ü",
        "a" * 33,
    ],
)
async def test_a_name_that_is_no_accounts_name_is_refused(authenticator, name):
    assert await sign_in(authenticator(), name) is None


async def test_where_jobs_have_accounts_only_those_sign_in(authenticator):
    demo = authenticator(site=SLURM)
    with pytest.raises(HTTPError) as caught:
        await sign_in(demo, "no-such-account")
    assert caught.value.status_code == 403
    assert "no-such-account" in str(caught.value)


@pytest.mark.parametrize("name", ["root", "daemon"])
async def test_system_accounts_never_sign_in(authenticator, name):
    with pytest.raises(HTTPError, match="not the account of a person"):
        await sign_in(authenticator(site=SLURM), name)


async def test_an_allow_list_holds(authenticator):
    demo = authenticator('[auth]\nallowed_users = ["ada"]\n')
    assert (await sign_in(demo, "ada"))["name"] == "ada"
    assert await sign_in(demo, "bob") is None


async def test_blocked_users_stay_out(authenticator):
    demo = authenticator('[auth]\nblocked_users = ["bob"]\n')
    assert await sign_in(demo, "bob") is None
    assert await sign_in(demo, "ada")


@pytest.mark.root
@pytest.mark.usefixtures("people")
async def test_pam_gets_the_accounts_groups(authenticator, monkeypatch):
    pam = authenticator('[auth]\nkind = "pam"\n', SLURM)
    assert isinstance(pam, AccountAuthenticator)
    assert pam.open_sessions is False
    monkeypatch.setattr(
        auth.PAMAuthenticator, "authenticate", lambda *_: _answer("alice")
    )
    model = await sign_in(pam, "alice", "its password")
    assert model["name"] == "alice"
    assert "alice" in model["groups"]


async def test_pam_that_says_no_is_a_no(authenticator, monkeypatch):
    pam = authenticator('[auth]\nkind = "pam"\n', SLURM)
    monkeypatch.setattr(auth.PAMAuthenticator, "authenticate", lambda *_: _answer(None))
    assert await sign_in(pam, "ada", "wrong") is None


async def _answer(name):
    return name


def test_accounts_are_judged_by_their_number():
    assert "not the account of a person" in account_problem("root", 1000)
    assert "no account" in account_problem("no-such-account", 1000)


def test_groups_of_nobody_are_none():
    assert account_groups("no-such-account") == []
    assert account_groups(getpass.getuser())


def test_claims_become_account_names(authenticator):
    oidc = authenticator(OIDC)
    assert isinstance(oidc, OidcAuthenticator)
    name = oidc.user_info_to_username({"preferred_username": "Ada@Example.org"})
    assert name == "ada"


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"preferred_username": None},
        {"preferred_username": ["ada@example.org"]},
        {"preferred_username": "ada"},
        {"preferred_username": "ada@evil.org"},
        {"preferred_username": "@example.org"},
        {"preferred_username": "a/b@example.org"},
        {"preferred_username": "ada\n@example.org"},
        {"preferred_username": "ada@example.org\n"},
    ],
)
def test_claims_that_name_no_account_are_refused(authenticator, claims):
    with pytest.raises(HTTPError) as caught:
        authenticator(OIDC).user_info_to_username(claims)
    assert caught.value.status_code == 403


def test_the_secret_of_the_client_comes_from_its_file(authenticator):
    assert authenticator(OIDC).client_secret == "hush"


def test_a_secret_that_others_can_read_is_refused(settings_from, tmp_path):
    settings = settings_from(OIDC)
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(settings, "secret")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(settings, "missing")


def test_groups_need_a_claim(settings_from):
    text = OIDC.replace('groups_claim = "groups"\n', "")
    with pytest.raises(ConfigError, match="groups_claim"):
        settings_from(text)
