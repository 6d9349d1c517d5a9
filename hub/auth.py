"""Who signs in: the three authenticators, and one rule for names and accounts.

Whatever proved the identity, the name is then an account's name on the cluster:
it must look like one and, where jobs run under accounts of this machine, be one
that belongs to a person. Groups become the hub's groups, by which profiles are
limited.
"""

from __future__ import annotations

import asyncio
import grp
import hmac
import os
import pwd
import re
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator, PAMAuthenticator
from oauthenticator.generic import GenericOAuthenticator
from tornado import web
from traitlets import Bool, Integer, Unicode
from traitlets.config import Config

from spawners.settings import ConfigError

from .detect import Site
from .secret_files import ensure_password
from .settings import Settings

# What a Linux account may be called; no capital letters, as the hub folds case.
ACCOUNT = r"[a-z_][a-z0-9_.-]{0,31}"


def account_problem(name: str, lowest_uid: int) -> str:
    """Return why jobs may not run as ``name``, or ``""``. May ask a directory."""
    try:
        account = pwd.getpwnam(name)
    except (KeyError, ValueError):  # a NUL in the name is a ValueError
        return f"There is no account {name!r} on this cluster."
    if account.pw_uid < lowest_uid:
        return f"{name!r} is a system account and cannot sign in."
    return ""


def account_groups(name: str) -> list[str]:
    """Return the names of the account's Unix groups; ``[]`` for no account."""
    try:
        account = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return []
    names = []
    for gid in os.getgrouplist(name, account.pw_gid):
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue  # a group without a name limits nothing
    return sorted(names)


class AccountRule(Authenticator):
    """Lets only names through that can be an account here."""

    own_accounts = Bool(
        default_value=True,
        config=True,
        help="Whether names must be accounts of this machine.",
    )
    lowest_uid = Integer(
        1000, config=True, help="Accounts below this number cannot sign in."
    )

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Return the user's model, after the account was looked at.

        Raises:
            HTTPError: 403 in words, if the identity is proven but is no account.
        """
        ask = super().get_authenticated_user
        model = await ask(handler, data)  # type: ignore[no-untyped-call]
        if model and self.own_accounts:
            problem = await asyncio.to_thread(
                account_problem, model["name"], self.lowest_uid
            )
            if problem:
                self.log.warning("Refused to sign in: %s", problem)
                raise web.HTTPError(403, problem)
        return model


class DemoAuthenticator(AccountRule):
    """One password for everybody. For trying things out, not for the network."""

    password = Unicode("", config=True, help="The password; empty lets nobody in.")

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Return the name if the password is right, and the account's groups."""
        given = str(data.get("password", "")).encode()
        if not self.password or not hmac.compare_digest(given, self.password.encode()):
            return None
        name = str(data.get("username", ""))
        return {"name": name, "groups": await asyncio.to_thread(account_groups, name)}


class AccountAuthenticator(AccountRule, PAMAuthenticator):
    """The machine's own accounts and passwords, through PAM."""

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Return name and groups if PAM says that the password is right."""
        name = await super().authenticate(handler, data)
        if name is None:
            return None
        groups = await asyncio.to_thread(account_groups, name)
        return {"name": name, "groups": groups}


class OidcAuthenticator(AccountRule, GenericOAuthenticator):
    """An identity provider says who it is; a claim names the account."""

    account_claim = Unicode("preferred_username", config=True)
    account_suffix = Unicode("", config=True)

    def user_info_to_username(self, user_info: dict[str, Any]) -> str:
        """Return the account's name out of the provider's claims.

        Raises:
            HTTPError: 403, if the claim is missing or names nobody of this site.
        """
        value = user_info.get(self.account_claim)
        if not isinstance(value, str) or not value:
            self.log.error("The provider sent no claim %r", self.account_claim)
            raise web.HTTPError(403, "Your identity provider did not say your name.")
        name = value.lower()
        suffix = self.account_suffix.lower()
        if suffix and not name.endswith(suffix):
            raise web.HTTPError(403, f"Only names that end in {suffix} may sign in.")
        name = name.removesuffix(suffix)
        if not re.fullmatch(ACCOUNT, name):
            raise web.HTTPError(403, "Your name there is no account's name here.")
        return name


def assemble_auth(c: Config, settings: Settings, site: Site) -> None:
    """Set the authenticator and all its settings.

    Raises:
        ConfigError: the client secret's file is missing or open to others.
    """
    auth = settings.auth
    rule = c.Authenticator
    # JupyterHub matches from the start only, and "$" would let a newline pass.
    rule.username_pattern = rf"(?:{ACCOUNT})\Z"
    rule.admin_users = set(settings.hub.admin_users)
    rule.allowed_users = set(auth.allowed_users)
    rule.blocked_users = set(auth.blocked_users)
    # A name that was allowed once and is not any more must not get in.
    rule.allow_existing_users = False
    rule.allow_all = not auth.allowed_users and not auth.oidc.allowed_groups
    local = site.own_accounts and site.runner != "ssh"
    rule.manage_groups = bool(auth.oidc.groups_claim) if auth.kind == "oidc" else local
    c.AccountRule.own_accounts = local
    c.AccountRule.lowest_uid = auth.lowest_uid
    if auth.kind == "demo":
        c.JupyterHub.authenticator_class = DemoAuthenticator
        c.DemoAuthenticator.password = settings.password or ensure_password(settings)
    elif auth.kind == "pam":
        c.JupyterHub.authenticator_class = AccountAuthenticator
        c.PAMAuthenticator.service = auth.pam_service
        # The job opens the user's session on its node; the hub needs none.
        c.PAMAuthenticator.open_sessions = False
    else:
        c.JupyterHub.authenticator_class = OidcAuthenticator
        _assemble_oidc(c, settings)


def _assemble_oidc(c: Config, settings: Settings) -> None:
    oidc = settings.auth.oidc
    target = c.OidcAuthenticator
    target.login_service = oidc.label
    target.authorize_url = oidc.authorize_url
    target.token_url = oidc.token_url
    target.userdata_url = oidc.userinfo_url
    target.client_id = oidc.client_id
    target.client_secret = read_secret(settings, oidc.client_secret_file)
    target.oauth_callback_url = settings.url + "hub/oauth_callback"
    target.scope = list(oidc.scopes)
    target.account_claim = oidc.username_claim
    target.account_suffix = oidc.username_suffix
    target.auth_state_groups_key = f"oauth_user.{oidc.groups_claim}"
    target.allowed_groups = set(oidc.allowed_groups)
    target.admin_groups = set(oidc.admin_groups)


def read_secret(settings: Settings, name: str) -> str:
    """Return the content of a secret's file, which only its owner may read.

    Raises:
        ConfigError: naming the file and what is wrong with it.
    """
    path = settings.folder / Path(name).expanduser()
    try:
        mode = path.stat().st_mode
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}."]) from None
    if mode & 0o077:
        raise ConfigError(path, ["holds a secret and is open to others: chmod 600 it."])
    if not secret:
        raise ConfigError(path, ["is empty."])
    return secret
