"""Who signs in: the authenticators, and one rule for names and accounts.

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
from typing import Any

from jupyterhub.auth import Authenticator, PAMAuthenticator
from tornado import web
from traitlets import Bool, Integer, Unicode
from traitlets.config import Config

from spawners.batch.accounts import ACCOUNT, NoPerson, find_person

from .detect import Site
from .secret_files import ensure_password
from .settings import Settings


def account_problem(name: str, lowest_uid: int) -> str:
    """Return why jobs may not run as ``name``, or ``""``. May ask a directory."""
    try:
        find_person(name, lowest_uid)
    except NoPerson as error:
        return str(error)
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


class AccountRule(Authenticator):  # type: ignore[misc]  # JupyterHub is untyped
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
        model = await super().get_authenticated_user(handler, data)
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


class AccountAuthenticator(AccountRule, PAMAuthenticator):  # type: ignore[misc]
    """The machine's own accounts and passwords, through PAM."""

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Return name and groups if PAM says that the password is right."""
        name = await super().authenticate(handler, data)
        if name is None:
            return None
        groups = await asyncio.to_thread(account_groups, name)
        return {"name": name, "groups": groups}


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
        # Here, as oauthenticator takes long to import where nobody needs it.
        from .oidc import assemble_oidc

        assemble_oidc(c, settings)
