"""Signing in through an OpenID Connect identity provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oauthenticator.generic import GenericOAuthenticator
from tornado import web
from traitlets import Unicode
from traitlets.config import Config

from spawners.batch.accounts import is_account_name
from spawners.settings import ConfigError

from .auth import AccountRule
from .secret_files import ensure_secret
from .settings import Settings


class OidcAuthenticator(AccountRule, GenericOAuthenticator):  # type: ignore[misc]
    """An identity provider says who it is; a claim names the account."""

    # Names come from the provider alone, and so do groups.
    takes_forms = False
    unix_groups = False
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
        if not is_account_name(name):
            raise web.HTTPError(403, "Your name there is no account's name here.")
        return name


def assemble_oidc(c: Config, settings: Settings) -> None:
    """Set everything that signing in through the provider needs.

    Raises:
        ConfigError: the client secret's file is missing or open to others.
    """
    c.JupyterHub.authenticator_class = OidcAuthenticator
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
    if settings.storage.kind == "web-identity":
        # The storage service shows the provider's token to the store.
        target.enable_auth_state = True
        c.CryptKeeper.keys = [ensure_secret(settings.state / "secrets" / "sign-in-key")]


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
