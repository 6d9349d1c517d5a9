"""Signing in through an identity provider, against a whole running gateway."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest


class Provider(ThreadingHTTPServer):
    """An OpenID Connect provider that signs everybody in as ``claims`` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.claims: dict[str, object] = {}
        self.secrets: list[str] = []
        self.verifiers: list[str] = []


class Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/authorize":
            answer = {"code": "one-time-code", "state": asked["state"]}
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{urlencode(answer)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.headers.get("Authorization") == "Bearer access":
            self._json(self.server.claims)
        else:
            self.send_error(401)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {key: values[0] for key, values in parse_qs(body).items()}
        self.server.secrets.append(form.get("client_secret", ""))
        self.server.verifiers.append(form.get("code_verifier", ""))
        if form.get("code") != "one-time-code":
            self.send_error(400)
            return
        self._json({"access_token": "access", "token_type": "Bearer"})

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output quiet."""


@pytest.fixture
def provider():
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def gateway(provider, place, run):
    """A gateway that trusts the provider; returns its address."""
    path = Path(place["LANDBRIDGE_CONFIG"])
    path.with_name("secret").write_text("client-secret")
    path.with_name("secret").chmod(0o600)
    path.write_text(
        f"""
        [auth]
        kind = "oidc"
        [auth.oidc]
        label = "Example ID"
        authorize_url = "{provider.url}/authorize"
        token_url = "{provider.url}/token"
        userinfo_url = "{provider.url}/userinfo"
        client_id = "landbridge"
        client_secret_file = "secret"
        username_suffix = "@example.org"
        groups_claim = "realm.groups"
        allowed_groups = ["hpc"]
        admin_groups = ["staff"]
        """
    )
    up = run("up")
    up.wait_for("Landbridge is ready at")
    up.wait_for("Sign in through Example ID")
    return f"http://127.0.0.1:{up.port}"


@pytest.fixture
def sign_in(gateway):
    """Sign in with a new browser; gives the last answer and the browser."""
    browsers = []

    def run() -> tuple[httpx.Response, httpx.Client]:
        browsers.append(httpx.Client(follow_redirects=True, timeout=30))
        return browsers[-1].get(f"{gateway}/hub/oauth_login"), browsers[-1]

    yield run
    for browser in browsers:
        browser.close()


def who(gateway: str, client: httpx.Client) -> dict[str, object]:
    token = {"X-XSRFToken": client.cookies.get("_xsrf", path="/hub/") or ""}
    answer = client.get(f"{gateway}/hub/api/user", headers=token)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_claims_decide_name_groups_and_rights(gateway, provider, sign_in):
    provider.claims = {
        "sub": "person-1",
        "preferred_username": "Ada@example.org",
        "realm": {"groups": ["hpc", "gpu-users"]},
    }
    answer, browser = sign_in()
    assert answer.status_code == 200
    user = who(gateway, browser)
    assert user["name"] == "ada"
    assert set(user["groups"]) == {"hpc", "gpu-users"}
    assert user["admin"] is False
    assert provider.secrets == ["client-secret"]
    assert provider.verifiers[0], "the code is bound to this browser (PKCE)"

    provider.claims["realm"] = {"groups": ["hpc", "staff"]}
    user = who(gateway, sign_in()[1])
    assert user["admin"] is True
    assert set(user["groups"]) == {"hpc", "staff"}

    refused = [
        ({"preferred_username": "bob@example.org", "realm": {"groups": ["x"]}}, 403),
        ({"preferred_username": "bob@evil.org", "realm": {"groups": ["hpc"]}}, 403),
        ({"preferred_username": "a;b@example.org", "realm": {"groups": ["hpc"]}}, 403),
        ({"realm": {"groups": ["hpc"]}}, 403),
    ]
    for claims, status in refused:
        provider.claims = {"sub": "person-2", **claims}
        answer, _ = sign_in()
        assert answer.status_code == status, claims


def test_an_account_is_the_persons_who_had_it_first(gateway, provider, sign_in, run):
    """A rename at the provider takes nobody's account over, whatever the claims say."""

    def comes(subject: object, name: object) -> int:
        provider.claims = {
            "sub": subject,
            "preferred_username": name,
            "realm": {"groups": ["hpc"]},
        }
        return sign_in()[0].status_code

    ada = "ada@example.org"
    assert comes("person-1", ada) == 200
    assert comes("person-1", "ADA@EXAMPLE.ORG") == 200
    for subject in ("person-2", "Person-1", "person-1 ", 1, "", None, ["person-1"]):
        assert comes(subject, ada) == 403, subject
        answer = sign_in()[0].text
        assert "person-1" not in answer
    # Nor does a person get a second account by a rename.
    assert comes("person-1", "bob@example.org") == 403
    assert comes("person-3", "\u212aate@example.org") == 403  # a Kelvin sign
    assert comes("person-3", "a" * 5_000_000) == 403

    listed = run("identities")
    assert listed.wait() == 0
    (line,) = [line for line in listed.lines if line.startswith("ada ")]
    assert "'person-1'" in line
    assert provider.url in line
    assert run("identities", "--forget", "bob").wait() == 3
    assert run("identities", "--forget", "ada").wait() == 0
    assert comes("person-2", ada) == 200
    assert comes("person-1", ada) == 403


def test_an_answer_that_nobody_asked_for_signs_nobody_in(gateway, provider):
    provider.claims = {
        "sub": "person-1",
        "preferred_username": "ada@example.org",
        "realm": {"groups": ["hpc"]},
    }
    forged = f"{gateway}/hub/oauth_callback?code=one-time-code&state=forged"
    answer = httpx.get(forged, follow_redirects=True)
    assert answer.status_code == 400
    assert provider.secrets == []
