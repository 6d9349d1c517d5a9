"""The hub's sections of ``gateway.toml``: every key, its default and its meaning.

The reference page of settings is made from these descriptions.
"""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_network
from typing import Literal

from pydantic import Field, field_validator, model_validator

from hub.registry import SERVICES
from services.jobs.settings import JobsSettings, SchedulerSettings
from spawners.common.settings import Duration, Section

from .kernels import KernelsSection

# Of the 253 characters of a host name, 64 are for a user's label and its dot.
_LONGEST_DOMAIN = 189


# OpenID Connect's claims that a person may set to anything.
_CHOSEN_FREELY = {
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "profile",
    "picture",
    "website",
    "zoneinfo",
    "locale",
}


class Tls(Section):
    """The certificate that browsers see."""

    certificate: str = Field(
        "", description="PEM file: the certificate, then its chain. Empty: plain HTTP."
    )
    key: str = Field("", description="PEM file with the private key.")

    @model_validator(mode="after")
    def _both(self) -> Tls:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key must be set together")
        return self


class HubSettings(Section):
    """The gateway as its users see it."""

    name: str = Field("Landbridge", description="Shown on every page.", max_length=60)
    state: str = Field(
        "var",
        description="Directory of everything that is written: database, keys, logs, "
        "sockets. Relative to where the hub is started. Only the hub's account needs "
        "to read it; the hub does not start if it, something in it, or a directory "
        "above belongs to another account or can be changed by others.",
    )
    bind_address: str = Field(
        "127.0.0.1", description="Address that browsers' connections are accepted on."
    )
    port: int = Field(8000, ge=1, le=65535, description="Port for browsers.")
    base_url: str = Field(
        "/", description="Path under which everything lies, with slashes at both ends."
    )
    public_url: str = Field(
        "",
        description="How browsers reach the gateway, where it differs from address "
        "and port: `https://gateway.example.org`.",
    )
    hosts: tuple[str, ...] = Field(
        (),
        description="More host names under which browsers reach the gateway, besides "
        "`localhost`, the one in `public_url` and, unless it listens on loopback only, "
        "this machine's own. `.example.org` stands for every name that ends so. "
        "Requests for other names are refused, for a page of another site could come "
        "by one; addresses written in digits are always served.",
    )
    subdomains: str = Field(
        "",
        description="A host name, `hub.example.org`: the hub is served there, and each "
        "user's servers and each service at a host of their own below it, so that "
        "browsers keep their pages apart. Needed where users do not trust each other. "
        "Every name below it has to lead to the gateway (a DNS record for "
        "`*.hub.example.org`) and be in the certificate. On one's own machine "
        "`hub.localhost` needs neither. Empty: all share one origin.",
    )
    admin_users: frozenset[str] = Field(
        frozenset(), description="Accounts that administer the hub."
    )
    named_servers: int = Field(
        4,
        ge=0,
        description="How many named servers a user may have besides the default one.",
    )
    server_limit: int = Field(
        0, ge=0, description="Most servers at a time over all users; 0: no limit."
    )
    session: Duration = Field(
        timedelta(days=7), description="How long a browser stays signed in."
    )
    token_lifetime: Duration = Field(
        timedelta(days=90), description="The longest life of an API token."
    )
    allow_insecure: bool = Field(
        default=False,
        description="Accept the demo password or plain HTTP on an address that is "
        "not loopback. Say yes only on a network that you trust.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="How much the hub logs."
    )
    tls: Tls = Field(Tls(), description="The certificate that browsers see.")

    @field_validator("base_url")
    @classmethod
    def _slashes(cls, value: str) -> str:
        if not re.fullmatch(r"/([A-Za-z0-9_.~-]+/)*", value):
            raise ValueError('must start and end with "/": "/gateway/"')
        return value

    @field_validator("hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", name):
                raise ValueError(
                    f'{name!r} is no host name: write "gateway.example.org", or '
                    '".example.org" for all names that end so'
                )
        return tuple(name.lower() for name in value)

    @field_validator("public_url")
    @classmethod
    def _origin(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/?", value):
            raise ValueError('must be an origin such as "https://gateway.example.org"')
        return value.rstrip("/")

    @field_validator("subdomains")
    @classmethod
    def _host(cls, value: str) -> str:
        label = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
        name = value.lower().rstrip(".")
        # Cookies for all hosts below "localhost", or "org", are kept by no browser.
        if name and not re.fullmatch(rf"(?:{label}\.)+(?=[0-9-]*[a-z]){label}", name):
            raise ValueError(
                "must be a host name of two parts or more, without scheme and port: "
                '"hub.example.org", or "hub.localhost" on your own machine'
            )
        if len(name) > _LONGEST_DOMAIN:
            raise ValueError(f"must have at most {_LONGEST_DOMAIN} characters")
        return name


class Oidc(Section):
    """An OpenID Connect identity provider. Used where `auth.kind` is `oidc`."""

    label: str = Field("single sign-on", description="Named on the sign-in button.")
    authorize_url: str = Field("", description="The provider's authorization endpoint.")
    token_url: str = Field("", description="The provider's token endpoint.")
    userinfo_url: str = Field("", description="The provider's userinfo endpoint.")
    client_id: str = Field("", description="The id that the provider gave this hub.")
    client_secret_file: str = Field(
        "", description="File (mode 0600) with the secret that belongs to it."
    )
    scopes: tuple[str, ...] = Field(
        ("openid", "profile", "email"), description="What is asked of the provider."
    )
    username_claim: str = Field(
        "preferred_username",
        description="Claim that holds the account's name on the cluster. With `email` "
        "only addresses count that the provider has verified (`email_verified`).",
    )
    username_suffix: str = Field(
        "",
        description="Cut from the end of that claim (`@example.org`); a name without "
        "it is refused.",
    )
    subject_claim: str = Field(
        "sub",
        description="Claim that says which person it is and never changes hands: an "
        "account belongs to the one who signed in to it first.",
    )
    issuer: str = Field(
        "",
        description="The provider's name beside that claim; empty: the origin of "
        "`token_url`. Set it to the old one where the provider gets another address.",
        max_length=500,
    )
    groups_claim: str = Field(
        "",
        description="Claim with the list of groups (dots go deeper: "
        "`realm_access.roles`). They become the hub's groups, by which profiles and "
        "accounts are limited. Empty: no groups.",
    )
    allowed_groups: frozenset[str] = Field(
        frozenset(), description="Who may sign in, by group; empty: everyone."
    )
    admin_groups: frozenset[str] = Field(
        frozenset(), description="Groups whose members administer the hub."
    )

    @field_validator("username_claim", "subject_claim")
    @classmethod
    def _not_chosen_freely(cls, value: str) -> str:
        if value in _CHOSEN_FREELY:
            raise ValueError(f"{value} is what people like to be called, of no proof")
        return value

    @model_validator(mode="after")
    def _asked_for(self) -> Oidc:
        if self.username_claim == "email" and "email" not in self.scopes:
            raise ValueError("username_claim = email needs email among the scopes")
        if self.subject_claim in ("email", self.username_claim):
            raise ValueError(
                "subject_claim must be another claim than the name, one that never "
                "changes hands: sub"
            )
        return self


class AuthSettings(Section):
    """Who may sign in, and how they prove who they are."""

    kind: Literal["demo", "pam", "oidc"] = Field(
        "demo",
        description="`demo`: one password for everybody, to try things out. `pam`: "
        "the password of this machine's account. `oidc`: an identity provider.",
    )
    allowed_users: frozenset[str] = Field(
        frozenset(), description="Only these may sign in; empty: see `kind`."
    )
    blocked_users: frozenset[str] = Field(
        frozenset(), description="These may not sign in, and lose their servers."
    )
    lowest_uid: int = Field(
        1000,
        ge=1,
        description="Accounts below this number are the system's: they can neither "
        "sign in nor run jobs.",
    )
    pam_service: str = Field(
        "login", description="For `pam`: the service whose rules are applied."
    )
    oidc: Oidc = Field(
        Oidc(), description="The identity provider, where `kind` is `oidc`."
    )

    @model_validator(mode="after")
    def _complete(self) -> AuthSettings:
        if self.kind == "oidc":
            needed = [
                "authorize_url",
                "token_url",
                "userinfo_url",
                "client_id",
                "client_secret_file",
            ]
            missing = [f"oidc.{k}" for k in needed if not getattr(self.oidc, k)]
            if missing:
                raise ValueError(f"kind = oidc needs {', '.join(missing)}")
            if self.oidc.allowed_groups | self.oidc.admin_groups and (
                not self.oidc.groups_claim
            ):
                raise ValueError(
                    "oidc.allowed_groups and admin_groups need a claim: "
                    "set oidc.groups_claim"
                )
        return self


class DatabaseSettings(Section):
    """Where the hub and the batch core keep their state."""

    url: str = Field(
        "",
        description="`postgresql+psycopg://...`; empty: SQLite files in the state "
        "directory.",
    )


class ProxySettings(Section):
    """HAProxy, through which every byte goes."""

    managed: bool = Field(
        default=True,
        description="Start and supervise HAProxy. `false`: the site runs it, with the "
        "configuration that `landbridge edge` writes to `haproxy/haproxy.cfg` in the "
        "state directory, and writes anew when certificates change.",
    )
    binary: str = Field(
        "",
        description="The program, version 2.6 or newer; empty: the one that came with "
        "the hub's environment.",
    )
    redirect_address: str = Field(
        "",
        description="`host:port` where plain http is redirected to https; empty: "
        "nowhere.",
    )
    metrics_address: str = Field(
        "",
        description="A path, or `host:port`, where Prometheus finds HAProxy's "
        "`/metrics`, behind the same token as all others; empty: nowhere.",
    )
    threads: int = Field(
        0,
        ge=0,
        le=64,
        description="Threads of HAProxy; 0: one for each processor, at most 4.",
    )
    max_connections: int = Field(
        0,
        ge=0,
        description="Connections accepted at a time; 0: what the limit of open files "
        "allows.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Networks (`10.1.0.0/16`) of proxies before the gateway. From "
        "them, the last address in `X-Forwarded-For` is believed to be the client's, "
        "and `X-Forwarded-Proto` how it came. Without this, all that come through such "
        "a proxy share the limits of one address.",
    )
    connections_per_source: int = Field(
        0,
        ge=0,
        description="Connections at a time from one address (of IPv6, one /64). 0: "
        "4,000, enough for a class of 200 behind one address, or a quarter of "
        "`max_connections` if that is more; at most half of them.",
    )
    connections_per_server: int = Field(
        0,
        ge=0,
        description="Requests and websockets at a time to one user's server. 0: a "
        "tenth of `max_connections`, at least 200.",
    )
    sign_in_failures: int = Field(
        200,
        ge=0,
        description="Failed sign-ins from one address within ten minutes, after which "
        "it has to wait. Count everybody behind one address. 0: no limit.",
    )
    tunnel_timeout: Duration = Field(
        timedelta(minutes=5),
        description="How long a websocket may be silent before it counts as left. "
        "Notebook servers send something on each every minute or more often.",
    )
    server_timeout: Duration = Field(
        timedelta(hours=1),
        description="How long a server may take to begin an answer.",
    )
    body_timeout: Duration = Field(
        timedelta(seconds=20),
        description="Within what time the body of a request to the hub arrives.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f'{error}; write "10.1.0.0/16"') from None
        return value


class CullingSettings(Section):
    """Stopping servers that nobody uses."""

    enabled: bool = Field(default=True, description="Stop idle servers at all.")
    idle_after: Duration = Field(
        timedelta(hours=2),
        description="Without kernel activity or an open page for this long, a server "
        "is stopped.",
    )
    check_every: Duration = Field(
        timedelta(minutes=5), description="Time between two looks."
    )
    oldest: Duration = Field(
        timedelta(0),
        description="Stop servers that are older than this, idle or not; 0: never. "
        "The job's own time limit holds in any case.",
    )


SECTIONS: dict[str, type[Section]] = {
    "hub": HubSettings,
    "auth": AuthSettings,
    "database": DatabaseSettings,
    "scheduler": SchedulerSettings,
    "jobs": JobsSettings,
    "kernels": KernelsSection,
    "proxy": ProxySettings,
    "culling": CullingSettings,
    **{service.name: service.settings for service in SERVICES},
}
