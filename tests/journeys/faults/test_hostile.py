"""Hostile input through the doors that a user has: nothing reaches Slurm or a log."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rigs.faults.sightings import recorded
from rigs.faults.site import FaultSite, signed_in

pytestmark = [pytest.mark.slurm, pytest.mark.root]

MARK = "hostile7mark"
TEXTS = [
    f"{MARK}\n#SBATCH --uid=0",
    f"--{MARK}",
    f"-{MARK}",
    f"$({MARK})",
    f"`{MARK}`",
    f"'; {MARK}; '",
    f'" {MARK} "',
    f"{{{{ {MARK} }}}}",
    f"{{% {MARK} %}}",
    f"../../{MARK}",
    f"{MARK}\0",
    f"{MARK}\u2028x",
    f"\uff54{MARK}",
    f"%s%n{MARK}",
    f"<script>{MARK}</script>",
    f"{MARK},{MARK}",
    f"{MARK} ",
    MARK * 90_000,
]
FIELDS = [
    "profile",
    "cpus",
    "memory",
    "gpus",
    "gpu_model",
    "time_limit",
    "partition",
    "account",
    "qos",
    "reservation",
]


def clean(site: FaultSite, kept: Path) -> None:
    """Nothing hostile was given to sbatch or written to a log."""
    for file in kept.glob("sbatch.*"):
        assert MARK not in file.read_text(errors="replace"), file.name
    assert MARK not in site.log()


def post(site: FaultSite, path: str, **body: Any) -> httpx.Response:
    return site.hub.api.post(f"/hub/api/{path}", **body)


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_of_the_api_carries_text_to_slurm(site: FaultSite, field: str) -> None:
    with recorded(site) as kept:
        for text in TEXTS:
            options = {"profile": "custom", field: text}
            answer = post(site, "users/alice/server", json={"user_options": options})
            # What is larger than any form, the edge refuses by itself.
            status = 413 if len(text) > 1024**2 else 400
            assert answer.status_code == status, (text[:40], answer.text[:200])
            assert len(answer.text) < 3000
            assert site.marked_stopped("alice")
        assert not list(kept.glob("sbatch.*"))
        clean(site, kept)
    assert not site.live_records()


def test_no_field_of_the_form_carries_text_to_slurm(site: FaultSite) -> None:
    with recorded(site) as kept, signed_in(site, "alice") as browser:
        token = browser.cookies.get("_xsrf", path="/hub/")
        for field in FIELDS:
            # Around a word of a form, blanks and NULs go: what is left is a plain name.
            for text in (t for t in TEXTS[:-1] if t.strip(" \0") != MARK):
                form = {"profile": "custom", field: text, "_xsrf": token}
                page = browser.post("/hub/spawn/alice", data=form)
                assert page.status_code == 400, (field, text, page.status_code)
                assert f"<script>{MARK}" not in page.text
        # The page asks `sbatch --test-only` about what may be started; nothing else.
        for given in kept.glob("sbatch.??????"):
            assert "--test-only" in given.read_text()
        clean(site, kept)
    assert not site.live_records()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner)
    ),
    max_leaves=6,
)
OPTIONS = JSON | st.fixed_dictionaries(
    {"profile": st.sampled_from(["custom", "stub"])},
    optional={field: JSON for field in FIELDS[1:]},
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(options=OPTIONS)
def test_any_json_is_refused_or_becomes_one_sane_job(
    site: FaultSite, options: Any
) -> None:
    body = json.dumps({"user_options": options})
    answer = post(site, "users/alice/server", content=body)
    assert answer.status_code in (201, 202, 400, 429), (options, answer.text[:300])
    if answer.status_code < 400:
        site.hub.stop_server("alice")
        site.wait_for("it is stopped", lambda: site.marked_stopped("alice"))


@pytest.mark.parametrize(
    "name",
    ["a b", "a;b", "a'b", "-a", "A", "x" * 300, "a%0Ab", "..%2Fbob", "%2e%2e", "a%00"],
)
def test_no_hostile_name_becomes_a_server(site: FaultSite, name: str) -> None:
    """Refused; or, where JupyterHub's rules let it pass, a job of alice's all the same.

    The name is in no script and in no argument but that of the output's path.
    """
    with recorded(site) as kept:
        answer = post(site, f"users/alice/servers/{name}", json={"user_options": {}})
        assert answer.status_code in (400, 404), (name, answer.status_code)
        assert not list(kept.glob("sbatch.*"))
    assert not site.live_records()


def test_a_foreign_job_cannot_speak_for_alices(site: FaultSite) -> None:
    site.ready("alice")
    (name,) = site.live_records()
    nonce = "n" * 32
    done = site.slurm.run(
        ["munge", f"--socket={site.slurm.munge_socket}"],
        user="bob",
        stdin=f"landbridge/1 fetch {name} {nonce}",
    )
    assert done.returncode == 0, done.stderr
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("fetch", {"nonce": nonce, "proof": done.stdout.strip()}),
        ("fetch", {"nonce": nonce, "proof": "MUNGE:forged:"}),
    ]
    ready = {"secret": "s" * 43, "port": 4000, "fingerprint": "f" * 64}
    for host in ("127.0.0.1", "169.254.169.254", "n1", "evil.example", f"{MARK}\n"):
        bodies.append(("ready", {**ready, "host": host}))
    for attribute in ("server", "api_token", "cmd", "user", "ip", "batch_script"):
        bodies.append(("ready", {**ready, "host": "n4", attribute: MARK}))
    bodies.append(("ended", {"secret": "s" * 43, "exit_code": 0, "log": MARK}))
    bodies.append(("ended", {"secret": "s" * 43, "exit_code": 0, "log": "x" * 10**6}))
    for verb, body in bodies:
        for value in (name, name.upper(), [name], None):
            content = json.dumps({**body, "job": value}).encode()
            answer = site.hub.ask_as_job(verb, content)
            assert 400 <= answer.status_code < 500, (verb, body, answer.text)
            assert "PRIVATE KEY" not in answer.text
    assert MARK not in site.log()
    assert site.hub.server("alice")["state"] == "ready"
    assert site.hub.answers("alice")


def test_a_foreign_job_in_the_queue_blinds_nobody(site: FaultSite) -> None:
    """H3: one ordinary job of any cluster user made every server's state unknown."""
    site.ready("alice")
    for begin in ("9999-12-31", "now+99999999999"):
        done = site.slurm.run(
            ["sbatch", "-n1", "--mem=10", f"--begin={begin}", "--wrap=true"], user="bob"
        )
        assert done.returncode == 0, done.stderr
    try:
        again = site.ready("alice", "second")
        assert again["job"]["is_current"]
        (name,) = site.names("server:alice/")
        seen = site.read_at(name)
        site.wait_for(
            "alice's job is read again, and believed",
            lambda: (
                (job := site.hub.server("alice")["job"])["is_current"]
                and job["state"] == "RUNNING"
                and site.read_at(name) > seen
            ),
        )
        site.hub.stop_server("alice")
        site.wait_for("it is stopped", lambda: site.marked_stopped("alice"))
    finally:
        site.slurm.run(["scancel", "--user=bob"], user="bob")


def test_the_jobs_door_asks_for_proof_and_shows_the_api_only(site: FaultSite) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    base = f"https://127.0.0.1:{site.hub.port + 1}"
    with httpx.Client(base_url=base, verify=context, trust_env=False) as job:
        for path in ("/hub/home", "/hub/login", "/user/alice/", "/"):
            assert job.get(path).status_code in (403, 404)
        assert job.get("/hub/api/users").status_code == 403


IDENTITY = [
    "X-Remote-User",
    "Remote-User",
    "X-Forwarded-User",
    "X-Authenticated-User",
    "X_Remote_User",
    "X-SSL-Client-DN",
    "X-Landbridge-User",
]


def test_no_header_that_claims_an_identity_comes_through(site: FaultSite) -> None:
    site.ready("alice")
    claims = {name: MARK for name in IDENTITY}
    seen = site.hub.api.get("/user/alice/mirror", headers=claims).json()["headers"]
    assert MARK not in json.dumps(seen), seen
    anonymous = httpx.get(
        f"http://127.0.0.1:{site.hub.port}/hub/api/user",
        headers={name: "alice" for name in IDENTITY},
        trust_env=False,
    )
    assert anonymous.status_code == 403


def test_a_link_to_the_form_fills_and_starts_nothing(site: FaultSite) -> None:
    with signed_in(site, "alice") as browser:
        for query in (
            "profile=stub",
            "opt-profile=stub",
            f"opt-profile=custom&opt-partition=%22%3E%3Cscript%3E{MARK}",
            f"profile={MARK}%0A%23SBATCH",
        ):
            page = browser.get(f"/hub/spawn/alice?{query}")
            assert page.status_code in (200, 400)
            assert not re.search(rf"<script>\s*{MARK}", page.text)
    assert not site.live_records()
