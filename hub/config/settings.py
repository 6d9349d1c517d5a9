"""All of the hub's settings: ``gateway.toml``, then the environment over it.

The environment variables are those of ``make up`` (:data:`VARIABLES`); everything
else is said in the file. :func:`load_settings` is the one way in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from hub.registry import SERVICES
from services.common.service import ServiceSection
from services.jobs.settings import JobsSettings, SchedulerSettings
from services.storage.settings import StorageSettings
from spawners.common.settings import (
    ConfigError,
    Section,
    check_sections,
    parse,
    read_toml,
)

from .kernels import KernelsSection
from .sections import (
    SECTIONS,
    AuthSettings,
    CullingSettings,
    DatabaseSettings,
    HubSettings,
    ProxySettings,
)

CHECKOUT = Path(__file__).resolve().parents[2]

VARIABLES: Mapping[str, str] = {
    "LANDBRIDGE_CONFIG": "path of another `gateway.toml`",
    "LANDBRIDGE_PORT": "the public port, instead of `hub.port`",
    "LANDBRIDGE_STATE": "the state directory, instead of `hub.state`",
    "LANDBRIDGE_PASSWORD": "the demo password; else a random one is made and printed",
    "LANDBRIDGE_ADMIN_TOKEN": "a Hub API token with admin rights",
    "LANDBRIDGE_SCHEDULER": "`auto`, `slurm` or `local`, instead of `scheduler.kind`",
    "LANDBRIDGE_EVERYBODY_IS_ROOT": "`yes`: sets `scheduler.everybody_is_root`",
    "LANDBRIDGE_ENVIRONMENT": "environment with JupyterLab, instead of "
    "`jobs.environment`",
}

# Where a fault of a variable is.
_ENVIRONMENT = Path("environment")
# JupyterHub refuses shorter tokens, with a traceback.
TOKEN_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the hub is told, checked.

    Attributes:
        services: the section of each service of the registry.
        path: the file it came from, or ``None``.
        state: absolute state directory.
        password: the demo password, or ``""`` for "make one".
        admin_token: an API token with admin rights, or ``""``.
    """

    hub: HubSettings
    auth: AuthSettings
    database: DatabaseSettings
    scheduler: SchedulerSettings
    jobs: JobsSettings
    kernels: KernelsSection
    proxy: ProxySettings
    culling: CullingSettings
    services: Mapping[str, ServiceSection]
    path: Path | None
    state: Path
    password: str = ""
    admin_token: str = ""

    def __repr__(self) -> str:
        return f"Settings(path={self.path}, state={self.state})"

    @property
    def storage(self) -> StorageSettings:
        """The storage service's section; the edge leads to its store."""
        section = self.services["storage"]
        assert isinstance(section, StorageSettings)  # noqa: S101 -- SECTIONS says so
        return section

    @property
    def origin(self) -> str:
        """Scheme and authority of :attr:`url`."""
        return self.url.removesuffix(self.hub.base_url)

    @property
    def url(self) -> str:
        """Where browsers find the gateway, with a trailing slash."""
        if self.hub.public_url:
            return self.hub.public_url + self.hub.base_url
        scheme = "https" if self.hub.tls.certificate else "http"
        if self.hub.subdomains:
            usual = 443 if scheme == "https" else 80
            port = "" if self.hub.port == usual else f":{self.hub.port}"
            return f"{scheme}://{self.hub.subdomains}{port}{self.hub.base_url}"
        host = self.hub.bind_address
        if host in ("0.0.0.0", "::", ""):  # noqa: S104 -- shown, not bound
            host = "127.0.0.1"
        if ":" in host:
            host = f"[{host}]"
        return f"{scheme}://{host}:{self.hub.port}{self.hub.base_url}"

    @property
    def folder(self) -> Path:
        """The directory that relative paths of the file start from."""
        return self.path.parent if self.path else CHECKOUT / "config"


def find_file(environment: Mapping[str, str]) -> Path | None:
    """Return the settings file to read: named, the checkout's, or the system's."""
    named = environment.get("LANDBRIDGE_CONFIG")
    if named:
        return Path(named).absolute()
    for path in (
        CHECKOUT / "config" / "gateway.toml",
        Path("/etc/landbridge/gateway.toml"),
    ):
        if path.is_file():
            return path
    return None


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Return the hub's settings; ``environment`` is ``os.environ`` but in tests.

    Raises:
        ConfigError: naming the file or variable, the key and what is allowed.
    """
    path = find_file(environment)
    tables = read_toml(path) if path else {}
    if path:
        check_sections(path, SECTIONS)
    tables = _overridden(tables, environment)
    where = path or Path("gateway.toml")
    parsed: dict[str, Section] = {}
    problems: list[str] = []
    for name, section in SECTIONS.items():
        values = tables.get(name, {})
        if not isinstance(values, dict):
            problems.append(f"[{name}] must be a section, not a value.")
            continue
        try:
            parsed[name] = parse(values, section, where, name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(where, problems)
    hub = parsed["hub"]
    assert isinstance(hub, HubSettings)  # noqa: S101 -- SECTIONS says so
    services = {service.name: parsed.pop(service.name) for service in SERVICES}
    settings = Settings(
        **parsed,  # type: ignore[arg-type]  # each under its own section's name
        services=services,  # type: ignore[arg-type]  # so does SECTIONS
        path=path,
        state=Path(hub.state).absolute(),
        password=environment.get("LANDBRIDGE_PASSWORD", ""),
        admin_token=environment.get("LANDBRIDGE_ADMIN_TOKEN", ""),
    )
    problems = contradictions(settings) + weaknesses(settings)
    if problems:
        raise ConfigError(where, problems)
    return settings


def _overridden(
    tables: dict[str, object], environment: Mapping[str, str]
) -> dict[str, object]:
    """Return the file's tables with the environment's variables put over them."""
    over: dict[str, dict[str, object]] = {}
    if port := environment.get("LANDBRIDGE_PORT"):
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ConfigError(_ENVIRONMENT, ["LANDBRIDGE_PORT must be 1 to 65535."])
        over.setdefault("hub", {})["port"] = int(port)
    if kind := environment.get("LANDBRIDGE_SCHEDULER"):
        allowed = SchedulerSettings.model_fields["kind"].annotation
        if kind not in get_args(allowed):
            names = ", ".join(get_args(allowed))
            raise ConfigError(
                _ENVIRONMENT, [f"LANDBRIDGE_SCHEDULER must be one of {names}."]
            )
        over.setdefault("scheduler", {})["kind"] = kind
    if accepted := environment.get("LANDBRIDGE_EVERYBODY_IS_ROOT"):
        if accepted not in ("yes", "no"):
            raise ConfigError(
                _ENVIRONMENT, ["LANDBRIDGE_EVERYBODY_IS_ROOT must be yes or no."]
            )
        over.setdefault("scheduler", {})["everybody_is_root"] = accepted == "yes"
    if state := environment.get("LANDBRIDGE_STATE"):
        over.setdefault("hub", {})["state"] = state
    if place := environment.get("LANDBRIDGE_ENVIRONMENT"):
        over.setdefault("jobs", {})["environment"] = place
    merged = dict(tables)
    for name, values in over.items():
        table = merged.get(name, {})
        merged[name] = {**table, **values} if isinstance(table, dict) else table
    return merged


def contradictions(settings: Settings) -> list[str]:
    """Return what two sections say that cannot both be."""
    if settings.storage.kind == "web-identity" and settings.auth.kind != "oidc":
        return ["storage.credentials = web-identity needs auth.kind = oidc"]
    here, there = urlsplit(settings.url), urlsplit(settings.storage.endpoint)
    store, domain = there.hostname or "", settings.hub.subdomains
    below = bool(domain) and store.endswith(f".{domain}")
    if settings.storage.route == "direct" and (here.hostname == store or below):
        # Its objects would be pages with the gateway's cookies, which know no ports.
        return ["storage.route = direct needs an endpoint of another host name"]
    if domain and here.hostname != domain:
        return [
            f"hub.public_url must name the host of hub.subdomains: {domain}, and not "
            f"{here.hostname}"
        ]
    return []


def weaknesses(settings: Settings) -> list[str]:
    """Return what is unsafe and was not asked for in so many words."""
    hub, auth = settings.hub, settings.auth
    problems = []
    if not is_loopback(hub.bind_address) and not hub.allow_insecure:
        if auth.kind == "demo":
            problems.append(
                f"auth.kind = demo on {hub.bind_address} lets everyone who knows one "
                "password be anyone; use pam or oidc, bind to 127.0.0.1, or set "
                "hub.allow_insecure = true"
            )
        if not hub.tls.certificate and not hub.public_url.startswith("https://"):
            problems.append(
                f"passwords would cross the network in clear on {hub.bind_address}; "
                "set hub.tls, or hub.public_url to the https address of the proxy in "
                "front, or hub.allow_insecure = true"
            )
    if hub.subdomains and not (
        settings.url.startswith("https://")
        or hub.subdomains.endswith(".localhost")
        or hub.allow_insecure
    ):
        problems.append(
            f"hub.subdomains = {hub.subdomains} needs https, for without it a user's "
            "page can set cookies of the hub's; set hub.tls, or hub.public_url to the "
            "https address of the proxy in front, or use a name below localhost on "
            "your own machine"
        )
    if auth.kind == "demo" and hub.admin_users:
        problems.append(
            "hub.admin_users with auth.kind = demo would make everyone who knows the "
            "password an administrator; use LANDBRIDGE_ADMIN_TOKEN"
        )
    if settings.admin_token and len(settings.admin_token) < TOKEN_LENGTH:
        problems.append(
            f"LANDBRIDGE_ADMIN_TOKEN must have at least {TOKEN_LENGTH} characters"
        )
    return problems


def is_loopback(address: str) -> bool:
    """True if only this machine's own processes can connect to ``address``."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
