"""Sessions that end by themselves, and sessions by an identity provider's token.

The store's sessions last 900 seconds at least when asked for a length, so a store of
its own is started whose sessions last a few seconds when not asked; the end is real.
"""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import shutil
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from store_rigs import WeedRig

from services.storage.drivers_sts import StsSettings, WebIdentityDriver, ask_sts
from services.storage.embedded_files import EmbeddedSettings, web_role_arn
from services.storage.errors import AccessDenied, KeyNotValid, StorageError
from services.storage.objects import Grant, Mode
from services.storage.policies import session_policy
from services.storage.s3 import S3Client
from services.storage.transport import StoreAddress

SECONDS = 3


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """An identity provider: a key, and a page that shows its public half."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        numbers = self.key.public_key().public_numbers()
        public = {
            "kty": "RSA",
            "kid": "one",
            "alg": "RS256",
            "use": "sig",
            "n": b64(numbers.n.to_bytes(256, "big")),
            "e": b64(numbers.e.to_bytes(3, "big")),
        }
        body = json.dumps({"keys": [public]}).encode()

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, *, audience="gateway", lifetime=300, algorithm="RS256") -> str:
        now = int(time.time())
        header = {"alg": algorithm, "kid": "one", "typ": "JWT"}
        claims = {
            "iss": self.issuer,
            "aud": audience,
            "sub": "alice",
            "preferred_username": "alice",
            "iat": now - 1000,
            "exp": now + lifetime,
        }
        text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        if algorithm == "none":
            return f"{text}."
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{b64(signature)}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def provider():
    one = Provider()
    yield one
    one.close()


@pytest.fixture(scope="module")
def short_rig(provider):
    directory = Path(tempfile.mkdtemp(prefix="lbweed-", dir="/var/tmp"))
    facts = {
        "issuer": provider.issuer,
        "clientId": "gateway",
        "jwksUri": f"{provider.issuer}/jwks",
    }
    rig = WeedRig(
        EmbeddedSettings(
            directory / "store",
            providers={"hub": facts},
            session_length=timedelta(seconds=SECONDS),
        )
    )
    try:
        rig.up()
        yield rig
    finally:
        rig.down()
        shutil.rmtree(directory)


@pytest.fixture
async def client(short_rig):
    access = short_rig.access
    one = S3Client(StoreAddress(access.endpoint), access.key)
    for name in ("alice", "bob"):
        if not await one.buckets.exists(name):
            await one.buckets.create(name)
    await one.put("alice", "a", b"1")
    yield one
    await one.close()


async def test_a_session_ends_at_its_time_and_others_go_on(short_rig, client):
    policy = session_policy([Grant("alice")])
    form = {
        "RoleArn": short_rig.access.role_arn,
        "RoleSessionName": "short",
        "Policy": policy,
    }
    short = await ask_sts(client, "AssumeRole", form)
    long = await ask_sts(client, "AssumeRole", {**form, "DurationSeconds": "900"})
    ending, lasting = client.signed_by(short.key), client.signed_by(long.key)
    began = time.monotonic()
    assert (await ending.get("alice", "a")).data == b"1"
    with pytest.raises(KeyNotValid, match="expired"):
        while time.monotonic() - began < SECONDS * 5:
            await ending.get("alice", "a")
            await asyncio.sleep(0.1)
    assert time.monotonic() - began > SECONDS - 1.5
    assert (await lasting.get("alice", "a")).data == b"1"


async def test_a_token_of_the_identity_provider_gets_narrow_keys(provider, client):
    driver = WebIdentityDriver(client, StsSettings(web_role_arn("hub")))
    grants = [Grant("alice", "in/", Mode.READ_WRITE)]
    session = await driver.issue("alice", provider.token(), grants)
    alice = client.signed_by(session.key)
    await alice.put("alice", "in/b", b"1")
    for call in (alice.get("alice", "a"), alice.list("bob")):
        with pytest.raises(AccessDenied):
            await call
    assert not await driver.escapes(session)
    await driver.revoke(session)
    with pytest.raises(AccessDenied):
        await alice.get("alice", "in/b")


@pytest.mark.parametrize(
    "wrong", [{"audience": "other"}, {"lifetime": -60}, {"algorithm": "none"}]
)
async def test_a_wrong_token_gets_nothing(provider, client, wrong):
    driver = WebIdentityDriver(client, StsSettings(web_role_arn("hub")))
    with pytest.raises(StorageError) as caught:
        await driver.issue("alice", provider.token(**wrong), [Grant("alice")])
    assert provider.token(**wrong)[:20] not in str(caught.value)
