"""Who may sign in, by which proof, under which account."""

from __future__ import annotations

import subprocess
import time
from types import SimpleNamespace
from typing import ClassVar

import pamela
import pytest
from jupyterhub.auth import Authenticator
from tornado.web import HTTPError
from traitlets.config import Config

from hub.auth.account_rule import ruled
from hub.auth.authenticators import (
    AccountAuthenticator,
    DemoAuthenticator,
    assemble_auth,
)
from hub.auth.identities import Identities, OtherIdentity
from hub.auth.oidc import OidcAuthenticator, read_secret
from hub.config.settings import load_settings
from services.jobs.settings import Site
from spawners.common.settings import ConfigError
from spawners.notebooks.errors import StartFailed

LOCAL = Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", 8001)
SLURM = Site("slurm", "root", "munge", True, "hub", "0.0.0.0", 8001)

HOSTILE = [
    "A" * 5_000_000,
    "a" * 33,
    "ada\0",
    "a\nb",
    "\udcff\udcfe",
    "\u212aate",  # in lower case: kate
    "../etc/passwd",
    "ada@example.org",
]

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
async def authenticator(settings_from):
    """Build the authenticator that a settings file leads to, as the hub does."""
    built = []

    def build(text: str = "", site: Site = LOCAL, refusal_seconds: float = 0.01):
        c = Config()
        assemble_auth(c, settings_from(text), site)
        c.AccountAuthenticator.refusal_seconds = refusal_seconds
        c.DemoAuthenticator.refusal_seconds = refusal_seconds
        built.append(c.JupyterHub.authenticator_class(config=c))
        return built[-1]

    yield build
    for one in built:
        await one.looks.close()


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


@pytest.mark.parametrize(
    "name", ["no-such-account", "root", "daemon", "nobody", "sshd"]
)
@pytest.mark.parametrize("password", ["sesame", "wrong"])
async def test_where_jobs_have_accounts_only_those_of_persons_sign_in(
    authenticator, name, password
):
    # The right password answers exactly as a wrong one.
    assert await sign_in(authenticator(site=SLURM), name, password) is None


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
    assert pam.check_account is True
    monkeypatch.setattr(pamela, "authenticate", lambda *_, **__: None)
    monkeypatch.setattr(pamela, "check_account", lambda *_, **__: None)
    model = await sign_in(pam, "Alice", "its password")
    assert model["name"] == "alice"
    assert "alice" in model["groups"]


@pytest.mark.root
@pytest.mark.parametrize("name", [*HOSTILE, "root", "daemon", "nobody", "no-account"])
async def test_pam_is_not_asked_for_what_is_refused_anyway(
    authenticator, monkeypatch, name
):
    pam = authenticator('[auth]\nkind = "pam"\n', SLURM)
    monkeypatch.setattr(
        pamela, "authenticate", lambda *_, **__: pytest.fail("PAM was asked")
    )
    assert await sign_in(pam, name, "x") is None


@pytest.mark.root
async def test_the_machines_own_pam_decides(authenticator, own_account):
    """Real accounts, real passwords; root's right one answers as a wrong one."""
    pam = authenticator('[auth]\nkind = "pam"\n', SLURM)
    subprocess.run(["chpasswd"], input=f"{own_account}:sesame\n", text=True, check=True)
    assert (await sign_in(pam, own_account))["name"] == own_account
    assert await sign_in(pam, own_account, "wrong") is None
    assert await sign_in(pam, own_account, "sesame\0") is None
    subprocess.run(["usermod", "-L", own_account], check=True)
    assert await sign_in(pam, own_account) is None
    subprocess.run(["usermod", "-U", own_account], check=True)
    assert (await sign_in(pam, own_account))["name"] == own_account
    subprocess.run(["usermod", "-s", "/usr/sbin/nologin", own_account], check=True)
    assert await sign_in(pam, own_account) is None


@pytest.mark.root
@pytest.mark.usefixtures("people")
async def test_refusals_take_the_same_time_whatever_they_rest_on(
    authenticator, monkeypatch
):
    pam = authenticator('[auth]\nkind = "pam"\n', SLURM, refusal_seconds=1.5)

    def slowly(*_: object, **__: object) -> None:
        time.sleep(0.2)
        raise pamela.PAMError

    monkeypatch.setattr(pamela, "authenticate", slowly)
    for name in ("alice", "root", "no-such-account"):
        began = time.monotonic()
        assert await sign_in(pam, name, "wrong") is None
        took = time.monotonic() - began
        assert took >= 1.5, name
        assert took % 1.5 < 0.7, name  # at a busy machine, the next multiple


async def test_guessing_slows_down_and_tells_nothing(authenticator):
    demo = authenticator(site=SLURM)
    for name in ("nobody", "no-such-account"):
        for _ in range(5):
            assert await sign_in(demo, name, "wrong") is None
        with pytest.raises(HTTPError, match="Too many attempts") as caught:
            await sign_in(demo, name)
        assert caught.value.status_code == 429
        assert caught.value.headers == {"Retry-After": "1"}


async def test_starts_without_end_are_held_up_by_user(authenticator):
    pam = authenticator('[auth]\nkind = "pam"\n', SLURM)
    bob, ada = SimpleNamespace(name="bob"), SimpleNamespace(name="ada")
    for _ in range(60):
        await pam.pre_spawn_start(bob, None)
    with pytest.raises(StartFailed, match="in a short time") as caught:
        await pam.pre_spawn_start(bob, None)
    assert caught.value.status_code == 429
    assert "10 seconds" in str(caught.value.jupyterhub_message)
    await pam.pre_spawn_start(ada, None)


async def test_a_form_is_no_way_in_through_a_provider(authenticator):
    assert await sign_in(authenticator(OIDC), "ada") is None


async def test_a_sites_own_authenticator_is_ruled_as_well(settings_from):
    class Anyone(Authenticator):
        asked: ClassVar[list[str]] = []

        async def authenticate(self, _handler, data):
            self.asked.append(data["username"])
            return data["username"]

    c = Config()
    assemble_auth(c, settings_from(), SLURM)
    c.AccountRule.refusal_seconds = 0.01
    site = ruled(Anyone)(config=c)
    try:
        for name in [*HOSTILE, "root", "nobody", "no-such-account"]:
            assert await sign_in(site, name) is None
        assert Anyone.asked == []
        assert ruled(type(site)) is type(site)
    finally:
        await site.looks.close()


@pytest.mark.parametrize("name", ["a\nb", "A" * 60_000, "root", "no-such-account"])
async def test_an_administrator_adds_no_other_names(authenticator, name):
    with pytest.raises(ValueError, match=r"no account|not the account|Invalid"):
        await authenticator(site=SLURM).add_user(SimpleNamespace(name=name))


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


EMAIL = OIDC.replace(
    'username_suffix = "@example.org"',
    'username_suffix = "@example.org"\nusername_claim = "email"',
)


@pytest.mark.parametrize(
    ("verified", "good"),
    [
        ({"email_verified": True}, True),
        ({"email_verified": "true"}, True),
        ({"email_verified": False}, False),
        ({"email_verified": "false"}, False),
        ({"email_verified": 1.5}, False),
        ({"email_verified": None}, False),
        ({}, False),
    ],
)
def test_an_address_counts_if_the_provider_has_verified_it(
    authenticator, verified, good
):
    oidc = authenticator(EMAIL)
    claims = {"email": "ada@example.org", **verified}
    if good:
        assert oidc.user_info_to_username(claims) == "ada"
        return
    with pytest.raises(HTTPError) as caught:
        oidc.user_info_to_username(claims)
    assert caught.value.status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        ('[auth.oidc]\nusername_claim = "nickname"', "like to be called"),
        ('[auth.oidc]\nsubject_claim = "name"', "like to be called"),
        ('[auth.oidc]\nsubject_claim = "email"', "never changes hands"),
        ('[auth.oidc]\nusername_claim = "sub"', "never changes hands"),
        ('[auth.oidc]\nusername_claim = "email"\nscopes = ["openid"]', "scopes"),
    ],
)
def test_claims_that_prove_nothing_are_refused(settings_from, change):
    text, words = change
    with pytest.raises(ConfigError, match=words):
        settings_from(OIDC.replace("[auth.oidc]", text))


def test_the_issuer_is_where_tokens_come_from_unless_told(authenticator):
    assert authenticator(OIDC).issuer == "https://id.example.org"
    told = OIDC.replace("[auth.oidc]", '[auth.oidc]\nissuer = "https://old.org/x"')
    assert authenticator(told).issuer == "https://old.org/x"


async def test_both_ends_are_bound_and_unbound(tmp_path):
    identities = await Identities.open(f"sqlite:///{tmp_path}/sessions.sqlite")
    try:
        for _ in range(2):
            await identities.bind("ada", "https://id", "1")
        for user, issuer, subject in [
            ("ada", "https://id", "2"),
            ("ada", "https://other", "1"),
            ("bob", "https://id", "1"),
        ]:
            with pytest.raises(OtherIdentity, match="bound to"):
                await identities.bind(user, issuer, subject)
        await identities.bind("bob", "https://other", "1")
        assert [one.user for one in await identities.all()] == ["ada", "bob"]
        assert await identities.forget("ada")
        assert not await identities.forget("ada")
        await identities.bind("ada", "https://id", "2")
    finally:
        await identities.close()


async def test_nobody_signs_in_while_identities_cannot_be_read(authenticator):
    oidc = authenticator(OIDC)
    model = {"name": "ada", "auth_state": {"oauth_user": {"sub": "1"}}}
    oidc.authenticate = lambda *_: _answer(model)
    oidc.check_allowed = lambda *_: True
    with pytest.raises(HTTPError) as caught:
        await oidc.get_authenticated_user(None, None)
    assert caught.value.status_code == 503


async def _answer(value):
    return value


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
