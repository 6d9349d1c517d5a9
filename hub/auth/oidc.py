"""Signing in through an OpenID Connect identity provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oauthenticator.generic import GenericOAuthenticator
from sqlalchemy.exc import IntegrityError
from tornado import web
from traitlets import Unicode
from traitlets.config import Config

from hub.config.settings import Settings
from spawners.common.accounts import brief, is_account_name
from spawners.common.errors import DatabaseUnavailable
from spawners.common.files import ensure_secret
from spawners.common.settings import ConfigError

from .account_rule import REFUSED, AccountRule
from .identities import Identities, OtherIdentity

_LONGEST_CLAIM = 255


class OidcAuthenticator(AccountRule, GenericOAuthenticator):  # type: ignore[misc]
    """An identity provider says who it is; a claim names the account.

    The claim only says which account is meant. Whose it is says the subject, which
    never changes hands at a provider: see :mod:`hub.auth.identities`.
    """

    # Names come from the provider alone, and so do groups.
    takes_forms = False
    unix_groups = False
    account_claim = Unicode("preferred_username", config=True)
    account_suffix = Unicode("", config=True)
    subject_claim = Unicode("sub", config=True)
    issuer = Unicode("", config=True)
    identities: Identities | None = None

    def user_info_to_username(self, user_info: dict[str, Any]) -> str:
        """Return the account's name out of the provider's claims.

        Raises:
            HTTPError: 403, if the claim is missing or names nobody of this site.
        """
        value = user_info.get(self.account_claim)
        if not isinstance(value, str) or not value:
            self.log.error("The provider sent no claim %r", self.account_claim)
            raise web.HTTPError(403, "Your identity provider did not say your name.")
        verified = user_info.get("email_verified")
        if self.account_claim == "email" and verified not in (True, "true"):
            self.log.warning(
                "%s is an address that the provider has not verified", brief(value, 80)
            )
            raise web.HTTPError(403, REFUSED)
        if len(value) > _LONGEST_CLAIM or not value.isascii():
            # Before case is folded: "K" (U+212A) is no "k".
            raise web.HTTPError(403, "Your name there is no account's name here.")
        name = value.lower()
        suffix = self.account_suffix.lower()
        if suffix and not name.endswith(suffix):
            raise web.HTTPError(403, f"Only names that end in {suffix} may sign in.")
        name = name.removesuffix(suffix)
        if not is_account_name(name):
            raise web.HTTPError(403, "Your name there is no account's name here.")
        return name

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Return the user's model, if the account is this identity's.

        Raises:
            HTTPError: 403 for another one's account; 503 while it cannot be read.
        """
        model = await super().get_authenticated_user(handler, data)
        if not model:
            return None
        subject = self._subject(model)
        if self.identities is None:
            raise web.HTTPError(503, "The gateway is starting. Try again in a moment.")
        try:
            await self.identities.bind(model["name"], self.issuer, subject)
        except OtherIdentity as error:
            self.log.error(  # noqa: TRY400 -- the trace says nothing
                "Refused to sign in: %s. If both are the same person, or the account "
                "has passed to another one, run: landbridge identities --forget %s",
                error,
                model["name"],
            )
            raise web.HTTPError(403, REFUSED) from None
        except (DatabaseUnavailable, IntegrityError) as error:
            self.log.error("Cannot look up an identity: %s", error)  # noqa: TRY400
            raise web.HTTPError(
                503, "The gateway cannot look up who you are. Try again in a moment."
            ) from None
        return model

    def _subject(self, model: dict[str, Any]) -> str:
        claims = (model.get("auth_state") or {}).get(self.user_auth_state_key) or {}
        value = claims.get(self.subject_claim)
        text = str(value) if isinstance(value, str | int) else ""
        if not 0 < len(text) <= _LONGEST_CLAIM or not text.isprintable():
            self.log.error("The provider sent no claim %r", self.subject_claim)
            raise web.HTTPError(403, "Your identity provider did not say who you are.")
        return text

    async def delete_user(self, user: Any) -> None:
        """Forget whose the account was: its user was deleted."""
        super().delete_user(user)
        if self.identities is not None:
            await self.identities.forget(user.name)


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
    target.subject_claim = oidc.subject_claim
    target.issuer = oidc.issuer or "{0.scheme}://{0.netloc}".format(
        urlsplit(oidc.token_url)
    )
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
