"""Who signs in: the authenticators, behind one rule for accounts, and their choice.

Providers of identities are apart (:mod:`.oidc`): their libraries take long to import.
"""

from __future__ import annotations

import hmac
from typing import Any

from jupyterhub.auth import PAMAuthenticator
from traitlets import Unicode
from traitlets.config import Config

from hub.config.secrets import ensure_password
from hub.config.settings import Settings
from services.jobs.settings import Site
from spawners.common.accounts import ACCOUNT

from .account_rule import AccountRule


class DemoAuthenticator(AccountRule):
    """One password for everybody. For trying things out, not for the network."""

    password = Unicode("", config=True, help="The password; empty lets nobody in.")

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Return the name if the password is right."""
        given = str(data.get("password", "")).encode()
        if not self.password or not hmac.compare_digest(given, self.password.encode()):
            return None
        return str(data["username"])


class AccountAuthenticator(AccountRule, PAMAuthenticator):  # type: ignore[misc]
    """The machine's own accounts and passwords, through PAM."""


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
    # An account that is gone is refused by token, too; see AccountRule.refresh_user.
    rule.auth_refresh_age = 1
    rule.auth_refresh_strict = True
    c.AccountRule.own_accounts = local
    c.AccountRule.lowest_uid = auth.lowest_uid
    if auth.kind == "demo":
        c.JupyterHub.authenticator_class = DemoAuthenticator
        c.DemoAuthenticator.password = settings.password or ensure_password(settings)
    elif auth.kind == "pam":
        c.JupyterHub.authenticator_class = AccountAuthenticator
        pam = c.PAMAuthenticator
        pam.service = auth.pam_service
        pam.check_account = True
        pam.executor_threads = 8
        # The job opens the user's session on its node; the hub needs none.
        pam.open_sessions = False
        # Longer than PAM holds a wrong password: two or three seconds, and a quarter.
        c.AccountAuthenticator.refusal_seconds = 5.0
    else:
        # Here, as oauthenticator takes long to import where nobody needs it.
        from .oidc import assemble_oidc

        assemble_oidc(c, settings)
