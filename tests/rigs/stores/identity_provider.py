"""An identity provider of our own: it signs tokens, and shows its keys."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
import time
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

SHORT_SECONDS = 3
"""How long sessions live at a store that is asked for none of a given length."""


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


def certificate(key: rsa.RSAPrivateKey) -> bytes:
    """A certificate of the key by itself, as DER: Ceph reads no bare key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "provider")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


class Provider:
    """An identity provider: a key, and pages that show its public half.

    Attributes:
        thumbprint: of the key's certificate, as Ceph wants it to be told.
    """

    def __init__(self) -> None:
        self.key = new_key()
        numbers = self.key.public_key().public_numbers()
        der = certificate(self.key)
        self.thumbprint = hashlib.sha1(der).hexdigest()
        public = {
            "kty": "RSA",
            "kid": "one",
            "alg": "RS256",
            "use": "sig",
            "n": b64(numbers.n.to_bytes(256, "big")),
            "e": b64(numbers.e.to_bytes(3, "big")),
            "x5c": [base64.b64encode(der).decode()],
        }
        keys = json.dumps({"keys": [public]}).encode()

        def facts() -> bytes:
            found = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"}
            return json.dumps(found).encode()

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.path.endswith("/.well-known/openid-configuration")
                body = facts() if known else keys
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(
        self, *, audience="gateway", lifetime=300, algorithm="RS256", key=None, **more
    ) -> str:
        now = int(time.time())
        header = {"alg": algorithm, "kid": "one", "typ": "JWT"}
        claims = {
            "iss": self.issuer,
            "aud": audience,
            "sub": "alice",
            "preferred_username": "alice",
            "iat": now - 1000,
            "exp": now + lifetime,
            **more,
        }
        text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        if algorithm == "none":
            return f"{text}."
        signer = key or self.key
        signature = signer.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{b64(signature)}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
