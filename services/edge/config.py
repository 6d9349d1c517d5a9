"""The edge's configuration: from a few facts to the files that HAProxy reads.

``EdgeConfig`` holds the facts, ``render`` gives HAProxy's configuration,
``write_config`` puts it into a directory together with the error pages and an
(empty) map. The template is split in sections (``templates/sections``): a new
kind of frontend is a new section, not a change of the others.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from spawners.common.files import write_whole
from spawners.common.ownership import own_directory, read_own
from spawners.common.sockets import short_path

from . import users
from .limits import Limits
from .models import pool
from .models.pool import Models, Pool, Trust
from .pages import STATUSES, render_pages

HERE = Path(__file__).parent
CONFIG = "haproxy.cfg"
ROUTES = "routes.map"
SESSIONS = "sessions.map"
#: Files that HAProxy reads when it starts, and that others keep while it runs.
MAPS = (ROUTES, SESSIONS)
#: Held by who changes a map in HAProxy's memory, and by who starts a HAProxy.
CHANGING = "changing.lock"
_SPARE_DESCRIPTORS = 500
_MOST_CONNECTIONS = 20_000
_LONGEST_SOCKET_PATH = 85


@dataclass(frozen=True)
class Certificate:
    """A server's or client's certificate chain with its key, both PEM.

    Attributes:
        chain: the certificate file; it may hold the key as well.
        key: the key's file, when it is not in ``chain``.
    """

    chain: Path
    key: Path | None = None

    def pem(self) -> bytes:
        """Chain and key as one PEM, which is what HAProxy loads."""
        text = self.chain.read_bytes()
        if self.key is None:
            return text
        return text.rstrip() + b"\n" + self.key.read_bytes()


@dataclass(frozen=True)
class StorePort:
    """A port on loopback of the store that has a socket as well.

    By TCP the kernel moves a large object at half the cost. But whoever comes first
    may listen at a port: it is the store's only while ``proof`` answers.

    Attributes:
        number: the port.
        proof: path of a socket in a directory that others cannot enter; the store
            listens there for exactly as long as it has this port.
    """

    number: int
    proof: Path


@dataclass(frozen=True)
class EdgeConfig:
    """Everything that the edge's configuration depends on.

    Attributes:
        directory: where our files are: configuration, map, error pages.
        runtime: the run-time socket, a path or ``host:port``.
        public: address of the public frontend, ``host:port``.
        hub: how HAProxy reaches the hub, a path or ``host:port``.
        base_url: JupyterHub's, begins and ends with a slash.
        public_certificate: turns the public frontend into https.
        redirect: address of a plain-http frontend that only redirects to https.
        jobs: address of the frontend for compute nodes, ``host:port``.
        jobs_certificate: its certificate, signed by the hub's own CA.
        jobs_ca: PEM that signs the certificates of job servers.
        client_certificate: what we show to job servers.
        services: the gateway's own: name, and path of the socket where it listens.
        agents: path of the socket of the jobs service, which jobs report to.
        host_routing: routespecs begin with a host.
        origin: with ``host_routing``, where browsers find the hub, as
            ``https://hub.example.org``: at the hosts below it, it never answers. Empty:
            the hub answers at each host that has no route.
        service_hosts: with ``origin``, the host of each service, by name.
        hosts: the only names in Host that are served, besides addresses in digits;
            one that begins with a dot stands for all that end so; empty: any.
        jobs_hosts: the same for the frontend for compute nodes.
        trusted_proxies: networks whose X-Forwarded-For and -Proto are believed.
        sessions: users' servers are for browsers whose session ``sessions.map`` admits.
        store: where requests for objects (``/s3/``) go: a path of a socket, or the
            URL of an S3 store; empty: nowhere.
        store_port: a faster way to a store whose ``store`` is a socket.
        store_ca: PEM that signs that store's certificate; ``None``: the system's.
        models: where requests to models go; ``None``: nowhere.
        metrics: a path or ``host:port`` for Prometheus.
        metrics_token: the file with the token that opens it.
        threads, max_connections: of the HAProxy process.
        limits: what one client, server or body may take.
        tunnel_seconds: how long a silent websocket may live.
        server_seconds: how long a target may take to say anything.
        drain_seconds: how long after a reload old connections may go on.
        extra_sections: HAProxy configuration that is added at the end as it is.
    """

    directory: Path
    runtime: str
    public: str
    hub: str
    base_url: str = "/"
    public_certificate: Certificate | None = None
    redirect: str = ""
    jobs: str = ""
    jobs_certificate: Certificate | None = None
    jobs_ca: Path | None = None
    client_certificate: Certificate | None = None
    services: Mapping[str, str] = field(default_factory=dict)
    agents: str = ""
    host_routing: bool = False
    origin: str = ""
    service_hosts: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    jobs_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    sessions: bool = False
    store: str = ""
    store_port: StorePort | None = None
    store_ca: Path | None = None
    models: Models | None = None
    metrics: str = ""
    metrics_token: Path | None = None
    threads: int = 1
    max_connections: int = 2000
    limits: Limits = field(default_factory=Limits)
    tunnel_seconds: int = 300
    server_seconds: int = 3600
    drain_seconds: int = 86400
    extra_sections: tuple[str, ...] = ()

    @property
    def store_server(self) -> str:
        """The store's address as HAProxy writes it."""
        if "://" not in self.store:
            return _word(_address(self.store))
        url = urlsplit(self.store)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        return _word(f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}")

    @property
    def store_name(self) -> str:
        """The name that the store must prove by a certificate; ``""`` for none."""
        url = urlsplit(self.store)
        return (url.hostname or "") if url.scheme == "https" else ""

    @property
    def domain(self) -> str:
        """The host of ``origin``."""
        return urlsplit(self.origin).hostname or ""

    def url_at(self, host: str) -> str:
        """``origin`` with another host: the same scheme and port."""
        here = urlsplit(self.origin)
        return f"{here.scheme}://{host}{f':{here.port}' if here.port else ''}"

    @property
    def config_file(self) -> Path:
        """HAProxy's configuration."""
        return self.directory / CONFIG

    @property
    def map_file(self) -> Path:
        """The map from routespecs to targets."""
        return self.directory / ROUTES

    @property
    def sessions_file(self) -> Path:
        """The map of sessions and the users whose servers they may open."""
        return self.directory / SESSIONS

    @property
    def maps(self) -> tuple[str, ...]:
        """Files that HAProxy reads when it starts, and that others keep meanwhile."""
        return MAPS if self.models is None else (*MAPS, *pool.MAPS)

    @property
    def parts(self) -> dict[str, bytes]:
        """More files of configuration, which others keep; and how each begins."""
        if self.models is None:
            return {}
        return {pool.FILE: self.empty_pool(self.models).text().encode()}

    def empty_pool(self, models: Models) -> Pool:
        """The backends for models, with no replica in them."""
        client = self.pem_file("client").name if self.client_certificate else ""
        return Pool(models.backends, Trust(str(self.jobs_ca or ""), client))

    def pem_file(self, name: str) -> Path:
        """Our copy of a certificate with its key, e.g. ``public.pem``."""
        return self.directory / f"{name}.pem"


def default_threads() -> int:
    """One thread for each processor that we may use, at most four."""
    return min(len(os.sched_getaffinity(0)), 4)


def default_max_connections() -> int:
    """What the limit of open files allows: HAProxy needs two for a connection.

    HAProxy raises its soft limit to the hard one by itself, and refuses to start
    when ``maxconn`` asks for more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(100, min(_MOST_CONNECTIONS, (hard - _SPARE_DESCRIPTORS) // 2))


def runtime_path(directory: Path) -> Path:
    """A path for the run-time socket that the kernel can hold.

    See :func:`spawners.common.sockets.short_path`; HAProxy binds a longer name first.

    Raises:
        PermissionError: somebody else has made the directory for deep ones.
    """
    path = directory / "runtime.sock"
    # Characters count here and no bytes, as a HAProxy that runs was told by us.
    more = len(os.fsencode(path)) - len(str(path))
    return short_path(path, _LONGEST_SOCKET_PATH + more)


def _address(value: str) -> str:
    """A path or ``host:port`` as HAProxy writes it."""
    return f"unix@{value}" if "/" in value else value


def _word(value: object) -> str:
    """One word of HAProxy's configuration, quoted where needed."""
    text = str(value)
    if any(ord(character) < 0x20 for character in text):
        raise ValueError(f"{text!r} holds control characters")
    if all(c.isalnum() or c in "/._-:@[]*" for c in text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader([HERE / "templates", HERE / "templates" / "pages"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - HAProxy's syntax, not HTML; see _word
    )
    environment.filters["address"] = lambda value: _word(_address(str(value)))
    environment.filters["word"] = _word
    environment.filters["regex"] = re.escape
    return environment


_NOBODY = "nobody"


def render(config: EdgeConfig) -> str:
    """HAProxy's configuration for ``config``."""
    template = _environment().get_template("haproxy.cfg.j2")
    facts = users.facts(config.base_url)
    return template.render(
        edge=config,
        statuses=sorted(STATUSES),
        ways=_ways(config),
        metrics_hash=_metrics_hash(config),
        **facts,
    )


def _metrics_hash(config: EdgeConfig) -> str:
    """Return the hash of the token that opens the metrics; of none, what none has."""
    if not config.metrics or config.metrics_token is None:
        return _NOBODY
    try:
        return hashlib.sha256(read_own(config.metrics_token).strip()).hexdigest()
    except FileNotFoundError:
        return _NOBODY  # until it is made: the files are written anew then


def _ways(config: EdgeConfig) -> dict[str, str]:
    """Return whose requests go which way to a route's server, first come first served.

    Each way has backends of its own, so that a request to one's own server, which most
    of them are, pays for no rule about others.
    """
    whose = (
        {"own": "own", "visited": "to_user"} if config.sessions else {"own": "to_user"}
    )
    return whose | {"target": ""}


def _certificates(config: EdgeConfig) -> dict[str, Certificate]:
    named = {
        "public": config.public_certificate,
        "jobs": config.jobs_certificate,
        "client": config.client_certificate,
    }
    return {name: value for name, value in named.items() if value is not None}


def render_files(config: EdgeConfig) -> dict[str, bytes]:
    """Every file that HAProxy reads besides the map: its name and its content.

    The files lie in one directory and name each other without it, so that the
    directory can be moved, and copied to be checked.
    """
    files: dict[str, bytes] = {
        config.pem_file(name).name: certificate.pem()
        for name, certificate in _certificates(config).items()
    }
    environment = _environment()
    files |= render_pages(environment, f"{config.origin}{config.base_url}hub/home")
    files[CONFIG] = render(config).encode()
    return files


def signature(config: EdgeConfig, files: Mapping[str, bytes]) -> str:
    """A digest of all that makes a reload necessary when it changes."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name] + b"\0")
    if config.jobs_ca is not None:
        digest.update(config.jobs_ca.read_bytes())
    for name, beginning in config.parts.items():
        # Servers come and go while HAProxy runs; more backends need a reload.
        file = config.directory / name
        content = file.read_bytes() if file.exists() else beginning
        digest.update(b"%d" % pool.size_of(content.decode()))
    return digest.hexdigest()


def write_config(config: EdgeConfig) -> Path:
    """Write all files, so that a site can run HAProxy from them itself.

    An existing map is left alone: it belongs to the running hub.

    Returns:
        The configuration's path, for ``haproxy -W -f PATH``.
    """
    # A HAProxy of the site's may read it.
    own_directory(config.directory, readable=True)
    for name, content in render_files(config).items():
        write_whole(config.directory / name, content)
    for name, content in {**dict.fromkeys(config.maps, b""), **config.parts}.items():
        if not (config.directory / name).exists():
            write_whole(config.directory / name, content)
    return config.config_file
