"""Nobody but the job itself is taken for its server, whoever holds the port."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from spawners.batch.jobs.record import Address
from spawners.batch.rendezvous.certificates import (
    CertificateAuthority,
    HubPki,
    ensure_hub_pki,
    job_host,
)
from spawners.notebooks.probe import ask, peer_url


@pytest.fixture
def pki(tmp_path: Path) -> HubPki:
    return ensure_hub_pki(tmp_path / "pki", names=["127.0.0.1"])


@asynccontextmanager
async def listening(
    tmp_path: Path,
    pki: HubPki,
    name: str,
    *,
    authority: CertificateAuthority | None = None,
    answer: bytes = b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 5.0\r\n"
    b"Content-Length: 2\r\n\r\n{}",
) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """A TLS server that wants the hub's certificate; what it was sent."""
    pair = (authority or pki.jobs_ca).issue_server(job_host(name))
    file = tmp_path / f"{name}.pem"
    file.write_text(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.load_verify_locations(pki.hub_ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Address("n1", "127.0.0.1", port, pair.fingerprint), heard


async def test_the_job_itself_is_believed(tmp_path: Path, pki: HubPki) -> None:
    async with listening(tmp_path, pki, "lb-a") as (address, heard):
        answer = await ask(
            "lb-a",
            address,
            "/user/ann/api",
            tls=pki.client.context(),
            timeout_seconds=5,
        )
    assert answer.headers["X-JupyterHub-Version"] == "5.0"
    assert heard[0].startswith(b"GET /user/ann/api HTTP/1.1")
    assert peer_url("lb-a", address).startswith("https://lb-a.landbridge.internal:")


async def test_another_job_on_the_port_gets_nothing(
    tmp_path: Path, pki: HubPki
) -> None:
    async with listening(tmp_path, pki, "lb-b") as (address, heard):
        with pytest.raises(OSError, match="lb-a"):
            await ask("lb-a", address, "/", tls=pki.client.context(), timeout_seconds=5)
    assert heard == []


async def test_a_certificate_of_another_authority_gets_nothing(
    tmp_path: Path, pki: HubPki
) -> None:
    own = ensure_hub_pki(tmp_path / "own").jobs_ca
    async with listening(tmp_path, pki, "lb-a", authority=own) as (address, heard):
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await ask("lb-a", address, "/", tls=pki.client.context(), timeout_seconds=5)
    assert heard == []


async def test_the_hubs_own_certificate_is_no_jobs(tmp_path: Path, pki: HubPki) -> None:
    where = listening(tmp_path, pki, "lb-a", authority=pki.hub_ca)
    async with where as (address, heard):
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await ask("lb-a", address, "/", tls=pki.client.context(), timeout_seconds=5)
    assert heard == []


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n", b""],
)
async def test_an_answer_that_is_none_is_an_os_error(
    tmp_path: Path, pki: HubPki, answer: bytes
) -> None:
    async with listening(tmp_path, pki, "lb-a", answer=answer) as (address, _):
        with pytest.raises(OSError):
            await ask("lb-a", address, "/", tls=pki.client.context(), timeout_seconds=2)


async def test_a_server_that_says_nothing_is_an_os_error(pki: HubPki) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(OSError):
            await ask(
                "lb-a",
                Address("n1", "127.0.0.1", port),
                "/",
                tls=pki.client.context(),
                timeout_seconds=0.3,
            )
