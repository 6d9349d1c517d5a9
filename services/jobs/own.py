"""The jobs service for one user, on a machine that has no gateway.

Programs that start kernels as jobs start it (:mod:`spawners.kernels.own`). It is the
same service: its clients are the user's own programs, at a socket in the user's state,
and its jobs report by TLS at a port that it keeps over all its lives.

::

    python -m services.jobs.own DIRECTORY
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import socket
import ssl
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from services.common.listening import listen, run_until_stopped
from spawners.batch.rendezvous.certificates import HubPki, ensure_hub_pki
from spawners.batch.rendezvous.launch import JobSideSettings
from spawners.batch.rendezvous.messages import MAX_BODY
from spawners.batch.rendezvous.proofs import MungeVerifier
from spawners.batch.rendezvous.rendezvous import Rendezvous
from spawners.batch.scheduler import Scheduler
from spawners.common.addresses import own_addresses, resolve
from spawners.common.errors import GatewayError
from spawners.common.files import ensure_secret, write_whole
from spawners.common.ownership import own_directory
from spawners.common.sockets import short_path
from spawners.kernels.own import SETTINGS, SOCKET
from spawners.kernels.settings import KernelSettings, load_kernel_settings

from .clients import Client, ClientTokens
from .core import NAME, Parts, open_service
from .handlers import LARGEST_BODY, make_agent_application
from .service import JobsService

log = logging.getLogger(__name__)

_AGENT_PATH = "/agent"
_PORT = "port"
_PROBED_NODES = 5
_IDLE_SECONDS = 60.0
_LOOK_SECONDS = 2.0


def own_client(account: str) -> Client:
    """Return what the account's programs may do: all that it could do by itself."""
    return Client(
        "own",
        ("kernel:",),
        reads_all=True,
        sends_scripts=True,
        live=10_000,
        live_each=10_000,
        account=account,
        why="The account's own programs, on a machine without a gateway.",
    )


def take_port(directory: Path, settings: KernelSettings) -> list[socket.socket]:
    """Return listening sockets: at the port of last time, if that can be had.

    Jobs that wait in the queue were told of it.

    Raises:
        OSError: no port is free.
    """
    kept = directory / _PORT
    wanted = [int(kept.read_text("ascii"))] if kept.exists() else []
    ports = settings.ports
    wanted += range(ports[0], ports[1] + 1) if ports else [0]
    address = None if settings.is_slurm else "127.0.0.1"
    trouble: OSError | None = None
    for port in wanted:
        try:
            listeners = bind_sockets(port, address)
        except OSError as error:
            trouble = error
            continue
        write_whole(kept, f"{listeners[0].getsockname()[1]}\n")
        return listeners
    raise trouble or OSError("no port is free")


async def addresses(scheduler: Scheduler, settings: KernelSettings) -> list[str]:
    """Return where jobs may reach this process, the likeliest first."""
    if settings.address:
        return [settings.address]
    if not settings.is_slurm:
        return ["127.0.0.1"]
    try:
        nodes = list((await scheduler.snapshot()).node_addresses.values())
    except GatewayError as error:
        log.warning("The nodes' networks are not known: %s", error)
        nodes = []
    probed = nodes[:: max(1, len(nodes) // _PROBED_NODES)][:_PROBED_NODES]
    found: list[str] = []
    for node in probed:
        found += await resolve(node)
    return own_addresses(found)


def job_side(
    hosts: list[str], port: int, pki: HubPki, settings: KernelSettings
) -> JobSideSettings:
    """Return what every job is told."""
    places = [f"[{host}]" if ":" in host else host for host in hosts]
    return JobSideSettings(
        hub_url=" ".join(f"https://{host}:{port}{_AGENT_PATH}" for host in places),
        hub_ca=pki.hub_ca.certificate,
        proof="munge" if settings.proves_by_munge else "token",
        munge_socket=settings.munge_socket or None,
        munge_uid=os.getuid() if settings.proves_by_munge else None,
        patience=settings.launch_timeout,
    )


async def serve(directory: Path, settings: KernelSettings, stop: asyncio.Event) -> None:
    """Serve until ``stop``, or until nobody needs it; the jobs go on.

    Raises:
        CoreRuns, SocketTaken: another one runs here.
        GatewayError, OSError: it cannot begin.
    """
    account = pwd.getpwuid(os.getuid()).pw_name
    pki = ensure_hub_pki(directory / "pki")
    scheduler = settings.build_scheduler()
    kept = ensure_secret(directory / "launch-keys")
    async with AsyncExitStack() as stack:
        listeners = take_port(directory, settings)
        hosts = await addresses(scheduler, settings)
        port = int(listeners[0].getsockname()[1])
        parts = Parts(
            scheduler=scheduler,
            database=f"sqlite:///{directory}/jobs.sqlite",
            side=job_side(hosts, port, pki, settings),
            jobs_ca=pki.jobs_ca,
            launch_secrets=[line.encode("ascii") for line in kept.split()],
            tokens=ClientTokens(directory, (own_client(account),)),
            agent_paths=(_AGENT_PATH,),
            lock=directory / "lock",
            munge=MungeVerifier(socket=settings.munge_socket or None),
        )
        service, application, rendezvous = await open_service(parts, stack)
        _listen_for_jobs(rendezvous, pki, listeners, stack)
        watch = asyncio.create_task(_stop_when_idle(service, stop))
        try:
            path = short_path(directory / SOCKET)
            await listen(NAME, application, path, stop, largest_body=LARGEST_BODY)
        finally:
            watch.cancel()


def _listen_for_jobs(
    rendezvous: Rendezvous,
    pki: HubPki,
    listeners: list[socket.socket],
    stack: AsyncExitStack,
) -> None:
    """Answer jobs' agents, and nobody else, where the network is."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki.edge_pem)
    server = HTTPServer(
        make_agent_application(rendezvous, _AGENT_PATH),
        ssl_options=context,
        max_body_size=MAX_BODY,
        idle_connection_timeout=75,
        body_timeout=60,
    )
    server.add_sockets(listeners)
    stack.callback(server.stop)


async def _stop_when_idle(service: JobsService, stop: asyncio.Event) -> None:
    """Set ``stop`` once there were neither jobs nor readers for a while."""
    idle = 0.0
    while not stop.is_set() and idle < _IDLE_SECONDS:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await stop.wait()
        # A record is open for a while after its job's end, which may be taken back.
        busy = service.readers or any(
            record.is_open for record in service.jobs.records(live_only=False)
        )
        idle = 0.0 if busy else idle + _LOOK_SECONDS
    stop.set()
    service.feed.close()


def main() -> None:
    """Run the service for the directory that is named."""
    directory = Path(sys.argv[1])
    own_directory(directory)
    settings = load_kernel_settings(str(directory / SETTINGS))
    run_until_stopped(NAME, partial(serve, directory, settings))


if __name__ == "__main__":
    main()
