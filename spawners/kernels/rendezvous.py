"""Home: where a kernel's job reports once it runs, proves itself, and gets its work.

Whoever connects is nobody until its proof holds: a munge credential of our own
account over this very job and certificate, or a one-time token that came from one
of the job's nodes. Only then is anything said that is not public.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from spawners.batch.errors import AuthenticationBroken
from spawners.batch.models import BatchJob
from spawners.batch.rendezvous.proofs import (
    MungeVerifier,
    ProofRefused,
    digest,
    matches,
)
from spawners.common.addresses import plain_address
from spawners.node.kernel.tunnel import Json, tls_context

log = logging.getLogger(__name__)

_SECONDS = 60.0
_LINE = 65_536  # what a job says is short; what it gets may be long
_STRANGERS = 32  # connections at once that have proved nothing yet


@dataclass(frozen=True, slots=True)
class Proofs:
    """What a job must show.

    Attributes:
        name, fingerprint: of the job and of our certificate.
        munge: decodes credentials, or ``None`` where a token is asked for.
        token: the one-time token, ``""`` with munge.
        job: waits for the job's identity.
        is_from_job: tells whether an address is one of the job's nodes'.
    """

    name: str
    fingerprint: str
    munge: MungeVerifier | None
    token: str
    job: Callable[[], Awaitable[BatchJob]]
    is_from_job: Callable[[str], Awaitable[bool]]


class Home:
    """A TLS listener for one job.

    Args:
        proofs: see there.
        answer: what a proved job gets.
    """

    def __init__(self, proofs: Proofs, answer: Json) -> None:
        self._proofs = proofs
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._strangers = 0
        self._token_used_from = ""
        self.arrived = asyncio.Event()
        self.report: asyncio.Future[Json] = asyncio.get_running_loop().create_future()

    async def open(self, identity: Path, listener: socket.socket) -> None:
        """Begin to listen on a bound socket.

        Args:
            identity: PEM file of our key and certificate.
            listener: see :func:`bind`.
        """
        tls = tls_context(server=True)
        tls.load_cert_chain(identity)
        self._server = await asyncio.start_server(
            self._serve,
            sock=listener,
            ssl=tls,
            ssl_handshake_timeout=10,
            limit=_LINE,
        )

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if not self.report.done():
            self.report.cancel()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._strangers += 1
        peer = str(writer.get_extra_info("peername")[0])
        try:
            if self._strangers > _STRANGERS:
                return
            async with asyncio.timeout(_SECONDS):
                await self._hear(reader, writer, peer)
        except (
            OSError,
            ValueError,
            TimeoutError,
            asyncio.IncompleteReadError,
        ) as error:
            log.info("A connection from %s came to nothing: %s", peer, error)
        finally:
            self._strangers -= 1
            writer.close()

    async def _hear(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str
    ) -> None:
        hello = await _read(reader)
        try:
            await self._check(hello, peer)
        except ProofRefused as refusal:
            log.warning("A job from %s is refused: %s", peer, refusal)
            await _write(writer, {"refused": "its proof does not hold."})
            return
        except AuthenticationBroken as error:
            log.warning("A job from %s cannot be checked: %s", peer, error)
            return  # it tries again
        self.arrived.set()
        await _write(writer, self._answer)
        report = await _read(reader)
        if "failed" not in report:
            await _write(writer, {"ok": True})
        if not self.report.done():
            report["host"] = str(hello.get("host", ""))[:255]
            self.report.set_result(report)

    async def _check(self, hello: Json, peer: str) -> None:
        proofs = self._proofs
        if hello.get("name") != proofs.name:
            raise ProofRefused("it names another kernel")
        proof, claimed = str(hello.get("proof", "")), str(hello.get("job", ""))
        if proofs.munge is not None:
            said = f"landbridge/1 kernel {proofs.name} {proofs.fingerprint} {claimed}"
            identity = await proofs.munge.identity(proof, said)
            if identity.uid != os.getuid():
                raise ProofRefused(f"it is a job of uid {identity.uid}")
        elif not matches(proof, digest(proofs.token)):
            raise ProofRefused("it has not this job's token")
        job = await proofs.job()
        if job.id != claimed:
            raise ProofRefused("it is another job")
        if proofs.munge is None:
            if not await proofs.is_from_job(plain_address(peer)):
                raise ProofRefused("it is not on the job's node")
            if self._token_used_from not in ("", peer):
                raise ProofRefused("its token was used")
            self._token_used_from = peer


def bind(address: str, ports: tuple[int, int] | None, wanted: int = 0) -> socket.socket:
    """Return a bound TCP socket.

    Args:
        address: of ours; ``""`` for all of them.
        ports: first and last port to choose from, ``None`` for any.
        wanted: the one that a job was told already, else 0.

    Raises:
        OSError: no port is free.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    choices = [wanted] if wanted else range(ports[0], ports[1] + 1) if ports else [0]
    trouble = OSError("no port")
    for port in choices:
        # asyncio sends small messages at once only on what says that it is TCP.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(100)
        except OSError as error:
            listener.close()
            trouble = error
            continue
        listener.setblocking(False)  # noqa: FBT003 - the only parameter
        return listener
    raise trouble


def own_addresses(towards: list[str]) -> list[str]:
    """Return addresses of ours at which the nodes ``towards`` may reach us."""
    found: dict[str, None] = {}
    for target in towards:
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))  # sends nothing: picks the interface
            except OSError:
                continue
            found[str(probe.getsockname()[0])] = None
    try:
        named = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    except OSError:
        named = []
    found.update(dict.fromkeys(str(entry[4][0]) for entry in named))
    return list(found) or ["127.0.0.1"]


async def _read(reader: asyncio.StreamReader) -> Json:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise ValueError(str(error)) from error
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(message, dict):
        raise ValueError("not a line of ours")  # noqa: TRY004 - said by a peer
    return message


async def _write(writer: asyncio.StreamWriter, message: Json) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()
