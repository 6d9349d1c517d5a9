"""A kernel's job for each stub server, asked for as that server would ask for it.

Each server's token, certificate and settings are taken from its process, and each gets
a client of the jobs service of its own, by TLS through the edge, which goes on hearing
of its kernel as a notebook server's does. In the job there is the agent, and a program
that says that it is ready and sleeps.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from spawners.batch.explain.vocabulary import KERNEL
from spawners.batch.jobs.http import TlsWay
from spawners.batch.jobs.record import Stage
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.models import JobSpec, Launch, Resources, new_job_name
from spawners.batch.rendezvous.certificates import HUB_NAME
from spawners.batch.script import render_job_script
from spawners.kernels.facts import KernelFacts, owner_key
from spawners.kernels.settings import KernelSettings
from spawners.kernels.tunnel import begin

_READY_SECONDS = 900
_AT_A_TIME = 16
_PROGRAM = 'echo 40000 >&"$LANDBRIDGE_READY_FD"; exec sleep 3600'
_RESOURCES = Resources(cpus=1, memory=50 * 1024**2, time_limit=timedelta(hours=1))


def _server_variables(stub: str) -> Iterator[dict[str, str]]:
    """Yield the variables of each process that is such a stub server."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if stub.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                words = (entry / "environ").read_bytes().decode().split("\0")
                yield dict(word.partition("=")[::2] for word in words if word)


class StubKernels:
    """The kernels, and their servers' clients.

    Args:
        stub: path of the program of the stub servers.
    """

    def __init__(self, stub: str) -> None:
        self._stub = stub
        self._clients: dict[str, RemoteJobs] = {}
        self._starts = asyncio.Semaphore(_AT_A_TIME)

    def start_missing(self) -> int:
        """Give each server that has none a kernel; return how many kernels run."""
        return begin(self._start_missing()).result(_READY_SECONDS)

    def close(self) -> None:
        """Disconnect all servers; the jobs stay."""
        begin(self._close()).result(60)

    async def _start_missing(self) -> int:
        tokens = {each["LANDBRIDGE_JOBS_TOKEN"]: each for each in self._servers()}
        fresh = [token for token in tokens if token not in self._clients]
        await asyncio.gather(*(self._start(token, tokens[token]) for token in fresh))
        return len(self._clients)

    def _servers(self) -> list[dict[str, str]]:
        return list(_server_variables(self._stub))

    async def _start(self, token: str, server: dict[str, str]) -> None:
        authority = Path(server["JUPYTERHUB_SSL_CLIENT_CA"])
        text = authority.with_name("kernels.json").read_text()
        gateway = KernelSettings(**json.loads(text)).gateway
        assert gateway is not None
        kernel, name = str(uuid.uuid4()), new_job_name()
        owner = owner_key(gateway.user, kernel, name)
        jobs = RemoteJobs(
            TlsWay(gateway.url, authority, HUB_NAME),
            lambda: token,
            prefix=owner,
            sends_scripts=False,
        )
        self._clients[token] = jobs
        async with self._starts:
            await jobs.start()
            await jobs.submit(
                JobSpec(
                    name=name,
                    script=render_job_script(("true",)),  # the service sends its own
                    resources=_RESOURCES,
                    workdir="/",
                ),
                user=gateway.account,
                owner=owner,
                facts=KernelFacts(kernel, "stub", "server:stub", "", {}).to_facts(),
                launch=Launch(argv=("/bin/bash", "-c", _PROGRAM)),
                vocabulary=KERNEL,
            )
            record = await jobs.wait(
                name, lambda record: record.stage is Stage.READY or not record.live
            )
        assert record.live, record.failure

    async def _close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients.values()))
