"""From the site's settings to JupyterHub's: every one that we make, with its reason.

The rule: :func:`assemble` only sets and never appends, and each setting depends on
the settings alone; calling it twice is the same as once. What a site wants beyond
it goes into ``jupyterhub_config.d/*.py`` beside ``jupyterhub_config.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from traitlets.config import Config

from services.common.navigation import TEMPLATES
from services.jobs.settings import Site
from spawners.common.files import ensure_secret
from spawners.common.settings import ConfigError
from spawners.common.sockets import url_of_socket

from .auth.authenticators import assemble_auth
from .config.paths import (
    database_url,
    hub_socket,
    prepare_state,
    site_profiles,
)
from .config.secrets import operator_token_file
from .config.settings import Settings
from .config.site import check_accounts, detect
from .edge import edge_directory
from .pages.spawn_form import options_form
from .roles import custom_scopes
from .services import (
    enabled_services,
    navigation,
    roles,
    service_sockets,
    service_specs,
)
from .subdomains import host_cookies, host_of

HERE = Path(__file__).resolve().parent
_DAY = 86_400
# For the hub's pages alone, most of which are JupyterHub's with inline scripts and
# styles. Nobody may frame a page, keep a copy of it or read its address: it holds what
# changes need. That no page reaches into its window is the edge's to say.
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; object-src 'none'; base-uri 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def assemble(c: Config, settings: Settings, site: Site | None = None) -> None:
    """Set everything on ``c``; makes the state directory and its secrets if needed.

    ``site`` is what ``auto`` came to; asked of the machine if not given.

    Raises:
        ConfigError: a setting names something that cannot be used.
    """
    site = site or detect(settings)
    check_accounts(settings, site)
    try:
        prepare_state(settings)
    except OSError as error:
        raise ConfigError(
            settings.state, [f"cannot be used as state directory: {error.strerror}."]
        ) from None
    _hub(c, settings)
    _network(c, settings)
    _edge(c, settings)
    _state(c, settings)
    _servers(c, settings)
    _services(c, settings)
    assemble_auth(c, settings, site)


def _hub(c: Config, settings: Settings) -> None:
    hub = c.JupyterHub
    hub.log_level = settings.hub.log_level
    hub.base_url = settings.hub.base_url
    # The templates of a page are ours, else JupyterHub's; the header is everybody's.
    hub.template_paths = [str(HERE / "pages" / "templates"), str(TEMPLATES)]
    hub.template_vars = {
        "gateway_name": settings.hub.name,
        "gateway_pages": navigation(settings).entries,
    }
    if (HERE / "pages" / "static" / "logo.svg").exists():
        hub.logo_file = str(HERE / "pages" / "static" / "logo.svg")
    hub.cookie_max_age_days = settings.hub.session.total_seconds() / _DAY
    # A token is not forever, whoever asks for it.
    hub.token_expires_in_max_seconds = int(settings.hub.token_lifetime.total_seconds())
    # A service checks a token again after this long: a revoked one is dead in 30 s.
    hub.service_check_interval = 60
    hub.oauth_require_pkce = True
    # The metrics tell who is here: a token with `read:metrics`, or nothing.
    hub.authenticate_prometheus = True
    # Lax: another site's links lead in signed in, its forms and frames do not.
    lax: dict[str, object] = {"samesite": "Lax"}
    by_tls: dict[str, object] = {"secure": True} if _by_tls(settings) else {}
    hub.tornado_settings = {
        "headers": dict(_SECURITY_HEADERS),
        "cookie_options": dict(lax),
        # JupyterHub says of this one nowhere that it is for TLS only. Pages hold it as
        # well; of the cookie any page of this origin could read it.
        "xsrf_cookie_kwargs": {"httponly": True} | lax | by_tls,
    }


def _by_tls(settings: Settings) -> bool:
    """True if browsers come by TLS, to us or to a proxy of the site's."""
    return settings.url.startswith("https://")


def _network(c: Config, settings: Settings) -> None:
    hub = c.JupyterHub
    scheme = "https" if settings.hub.tls.certificate else "http"
    host = settings.hub.bind_address
    host = f"[{host}]" if ":" in host else host
    hub.bind_url = f"{scheme}://{host}:{settings.hub.port}{settings.hub.base_url}"
    if settings.hub.public_url or settings.hub.subdomains:
        hub.public_url = settings.url
    if settings.hub.subdomains:
        hub.subdomain_host = settings.origin
        hub.subdomain_hook = host_of
        hub.cookie_host_prefix_enabled = host_cookies(settings)
    # Only HAProxy reaches the hub: by a socket in a directory that is ours alone.
    # Services and culler reach it there, too: their tokens go to no port.
    hub.hub_bind_url = url_of_socket(hub_socket(settings))
    hub.hub_connect_url = hub.hub_bind_url
    hub.hub_socket_mode = 0o600
    # What the edge says about the client's address is true: it overwrites it.
    hub.trusted_downstream_ips = []
    hub.proxy_class = "landbridge-haproxy"
    # Its end writes the routes down, and leaves HAProxy alone.
    hub.cleanup_proxy = True


def _edge(c: Config, settings: Settings) -> None:
    edge = c.HAProxyProxy
    edge.directory = str(edge_directory(settings))
    # A browser loads nobody's pages but its user's, and those that she agreed to.
    edge.guard_users = True
    if settings.hub.tls.certificate:
        # For the addresses that JupyterHub writes; the edge holds the certificate.
        c.JupyterHub.ssl_cert = str(settings.folder / settings.hub.tls.certificate)
        c.JupyterHub.ssl_key = str(settings.folder / settings.hub.tls.key)


def _state(c: Config, settings: Settings) -> None:
    hub = c.JupyterHub
    hub.db_url = database_url(settings, "jupyterhub")
    hub.upgrade_db = True
    hub.cookie_secret_file = str(settings.state / "secrets" / "cookie-secret")
    hub.pid_file = str(settings.state / "run" / "hub.pid")
    # A hub that goes down leaves servers and routes alone: jobs outlive it, and the
    # next hub adopts them. `landbridge up` asks for more when it is stopped.
    hub.cleanup_servers = False
    hub.data_files_path = str(Path(sys.prefix) / "share" / "jupyterhub")


def _servers(c: Config, settings: Settings) -> None:
    hub = c.JupyterHub
    hub.spawner_class = "landbridge-profiles"
    # The page that tells what is free; a link fills it in and never starts anything.
    c.BatchJobSpawner.options_form = options_form
    # Waiting in the queue is no load on the hub; the batch core limits submissions.
    hub.concurrent_spawn_limit = 0
    hub.active_server_limit = settings.hub.server_limit
    hub.allow_named_servers = settings.hub.named_servers > 0
    hub.named_server_limit_per_user = settings.hub.named_servers
    # A form is filled in by a person: no server starts because a page was opened.
    hub.implicit_spawn_seconds = 0
    # Starts that were under way are resumed: do not hold up the first page for it.
    hub.init_spawners_timeout = 10
    # Administrators help with servers; what users make is not theirs to open.
    hub.admin_access = False
    c.ProfilesSpawner.profiles = site_profiles(settings)
    server, jobs = c.BatchJobSpawner, settings.jobs
    wait = jobs.queue_timeout
    server.queue_timeout = wait.total_seconds() if wait is not None else None
    server.launch_timeout = jobs.launch_timeout.total_seconds()
    server.warn_before = jobs.warn_before.total_seconds()


def _services(c: Config, settings: Settings) -> None:
    token = ensure_secret(operator_token_file(settings))
    specs = service_specs(settings, token)
    c.JupyterHub.services = [spec.to_hub() for spec in specs]
    c.HAProxyProxy.services = sorted(service_sockets(settings))
    c.JupyterHub.load_roles = roles(settings, specs)
    c.JupyterHub.custom_scopes = custom_scopes()
    if services := enabled_services(settings):
        # A notebook server acts for its user; JupyterHub gives the other two.
        c.Spawner.server_token_scopes = [
            "users:activity!user",
            "access:servers!server",
            *(scope for service in services for scope in service.user_scopes),
        ]


def run_snippets(c: Config, directory: Path) -> None:
    """Run a site's own ``*.py`` in ``directory``, in order of name, with ``c``.

    They may set any trait, and come last: what they say holds.

    Raises:
        ConfigError: naming the file, if one of them fails.
    """
    for path in sorted(directory.glob("*.py")):
        try:
            code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
            exec(code, {"c": c, "__file__": str(path)})  # noqa: S102 -- the site's own
        except Exception as error:
            raise ConfigError(path, [f"{type(error).__name__}: {error}"]) from error
