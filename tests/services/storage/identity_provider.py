"""An identity provider of our own: it signs tokens, and shows its public key."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SHORT_SECONDS = 3
"""How long sessions live at a store that is asked for none of a given length."""


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
