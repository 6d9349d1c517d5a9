"""Which host is whose, what the settings say of it, and what the doctor sees."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from traitlets.config import Config

from hub.assemble import assemble
from hub.auth.authenticators import ACCOUNT
from hub.config.hosts import served_hosts
from hub.config.settings import load_settings
from hub.run import doctor, origins
from hub.run.processes import process_spec
from hub.subdomains import any_origin, host_of, label_of, service_url
from services.jobs.settings import Site
from spawners.common.settings import ConfigError

LAPTOP = Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", 8001)
CLUSTER = Site("slurm", "root", "munge", True, "login1", "0.0.0.0", 8001)
HTTPS = 'public_url = "https://hub.example.org"\n'
ON = 'subdomains = "hub.example.org"\n'


@pytest.fixture
def load(tmp_path):
    def loaded(text: str, more: str = ""):
        path = tmp_path / "gateway.toml"
        path.write_text(f"[hub]\n{text}{more}")
        return load_settings(
            {
                "LANDBRIDGE_CONFIG": str(path),
                "LANDBRIDGE_STATE": str(tmp_path / "s"),
                "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
            }
        )

    return loaded


# -- names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ada", "ada"),
        ("ada-l", "ada-l"),
        ("ada.l", "ada-l--d"),
        ("ada_l", "ada-l--u"),
        ("a_d-a", "a-d-a--uh"),
        ("4711", "4711"),
    ],
)
def test_ordinary_names_can_be_read_in_their_host(name, label):
    assert label_of(name) == label


@given(st.text(min_size=1, max_size=300))
def test_every_name_becomes_one_label_of_dns(name):
    for kind in ("user", "service"):
        label, _, domain = host_of(name, "hub.example.org", kind).partition(".")
        assert domain == "hub.example.org"
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label)
        # Reserved: what begins so is another spelling of something (RFC 5891).
        assert label[2:4] != "--"


_SIMILAR = st.text(alphabet="ab-._Aé", min_size=1, max_size=6)
_NAMES = st.one_of(
    st.from_regex(ACCOUNT, fullmatch=True), _SIMILAR, st.text(min_size=1)
)


@given(st.tuples(_NAMES, st.sampled_from(["user", "service"])), st.data())
def test_no_two_have_the_same_host(one, data):
    """Also not one whose name was made to look like another's label."""
    imitation = st.just(label_of(one[0]))
    imitation |= st.just(host_of(one[0], "", one[1]).rstrip("."))
    other = data.draw(
        st.tuples(_NAMES | imitation, st.sampled_from(["user", "service"]))
    )
    if one != other:
        hosts = {host_of(name, "hub.example.org", kind) for name, kind in (one, other)}
        assert len(hosts) == 2


def test_all_short_names_have_different_hosts():
    letters = "ab._-"
    names = [""]
    for _ in range(5):
        names += [name + letter for name in names for letter in letters]
    unique = {name for name in names if name}
    assert len({label_of(name) for name in unique}) == len(unique)


# -- settings --------------------------------------------------------------------


def test_off_is_the_default_and_changes_nothing(load):
    settings = load("")
    assert settings.hub.subdomains == ""
    c = Config()
    assemble(c, settings, LAPTOP)
    for name in ("subdomain_host", "cookie_host_prefix_enabled", "public_url"):
        assert name not in c.JupyterHub
    assert service_url(settings, "storage") == (
        "http://127.0.0.1:8000/services/storage/"
    )


def test_by_https_cookies_are_bound_to_their_host(load):
    settings = load(f"{ON}{HTTPS}base_url = '/gate/'\n")
    c = Config()
    assemble(c, settings, CLUSTER)
    assert c.JupyterHub.subdomain_host == "https://hub.example.org"
    assert c.JupyterHub.public_url == "https://hub.example.org/gate/"
    assert c.JupyterHub.cookie_host_prefix_enabled is True
    assert c.JupyterHub.subdomain_hook("x.y", "d", "user") == "x-y--d.d"
    host = "storage--service.hub.example.org"
    assert service_url(settings, "storage") == f"https://{host}/gate/services/storage/"
    storage = process_spec(settings, "storage")
    assert storage is not None
    panels = storage.environment["LANDBRIDGE_PANEL_ORIGINS"]
    assert panels == any_origin(settings) == "https://*.hub.example.org"
    assert {"hub.example.org", ".hub.example.org"} <= set(served_hosts(settings))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ('subdomains = "hub.localhost"\n', "http://hub.localhost:8000/"),
        ('subdomains = "Hub.LOCALHOST."\nport = 80\n', "http://hub.localhost/"),
        (
            f'{ON}port = 443\n[hub.tls]\ncertificate = "c"\nkey = "k"\n',
            "https://hub.example.org/",
        ),
        (
            f'{ON}port = 8443\nbase_url = "/b/"\n[hub.tls]\ncertificate="c"\nkey="k"\n',
            "https://hub.example.org:8443/b/",
        ),
        (f"{ON}{HTTPS}", "https://hub.example.org/"),
        (
            f'{ON}public_url = "https://hub.example.org:8443"\n',
            "https://hub.example.org:8443/",
        ),
    ],
)
def test_the_gateway_is_at_that_host(load, text, url):
    assert load(text).url == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ON, ["needs https", "hub.tls", "hub.public_url"]),
        ('subdomains = "localhost"\n', ["two parts"]),
        ('subdomains = "https://hub.example.org"\n', ["without scheme"]),
        ('subdomains = "hub.example.org:8000"\n', ["port"]),
        ('subdomains = "10.0.0.1"\n', ["host name"]),
        ('subdomains = "a..b"\n', ["host name"]),
        ('subdomains = "-a.example"\n', ["host name"]),
        ('subdomains = "a_b.example"\n', ["host name"]),
        (f'subdomains = "{"a." * 95}example"\n', ["189"]),
        (
            f'{ON}public_url = "https://other.example.org"\n',
            ["hub.public_url", "hub.example.org", "other.example.org"],
        ),
        (
            f'{ON}{HTTPS}[storage]\nroute = "direct"\nkey_file = "k"\n'
            'endpoint = "https://s3.hub.example.org"\n',
            ["another host name"],
        ),
    ],
)
def test_what_cannot_work_is_refused_in_words(load, text, words):
    with pytest.raises(ConfigError) as refused:
        load(text)
    for word in words:
        assert word in str(refused.value)


# -- the doctor ------------------------------------------------------------------


def findings(settings, site):
    return {found.subject: found for found in origins.check_origins(settings, site)}


def test_one_person_on_a_laptop_hears_no_warning(load):
    assert origins.check_origins in doctor.CHECKS
    found = findings(load(""), LAPTOP)["origins"]
    assert found.verdict == "ok"


@pytest.mark.parametrize(
    ("text", "site"),
    [("", CLUSTER), ('bind_address = "0.0.0.0"\nallow_insecure = true\n', LAPTOP)],
)
def test_a_site_is_warned_with_reason_and_remedy(load, text, site):
    found = findings(load(text), site)["origins"]
    assert found.verdict == "warn"
    assert "act in the name of another" in found.hint
    assert "hub.subdomains" in found.hint


def names_of(monkeypatch, known: dict[str, list[str]]) -> None:
    """Have the DNS know these names, one of them perhaps a wildcard."""

    def getaddrinfo(name, *_args, **_more):
        wild = "*." + str(name).partition(".")[2]
        found = known.get(str(name)) or known.get(wild)
        if found is None:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, 1, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(origins.socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("known", "verdict", "words"),
    [
        ({}, "fail", "record for *.hub.example.org"),
        ({"*.hub.example.org": ["127.0.0.1"]}, "fail", "hub.example.org itself"),
        (
            {"*.hub.example.org": ["127.0.0.1"], "hub.example.org": ["127.0.0.2"]},
            "fail",
            "Both have to lead",
        ),
        (
            {"*.hub.example.org": ["192.0.2.1"], "hub.example.org": ["192.0.2.1"]},
            "warn",
            "not this machine",
        ),
        (
            {"*.hub.example.org": ["127.0.0.1"], "hub.example.org": ["127.0.0.1"]},
            "ok",
            "leads to 127.0.0.1",
        ),
    ],
)
def test_every_name_below_the_host_has_to_lead_here(monkeypatch, known, verdict, words):
    names_of(monkeypatch, known)
    found = origins.judge_names("hub.example.org")
    assert (found.verdict, words in found.text + found.hint) == (verdict, True), found


def test_names_below_localhost_need_no_dns(monkeypatch):
    names_of(monkeypatch, {})
    assert origins.judge_names("hub.localhost").verdict == "ok"


def certificate(directory, *names: str):
    """Write a certificate that signs itself; its chain and key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if names:
        shown = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
        builder = builder.add_extension(shown, False)
    path = directory / "site.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(pem)
        + key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


@pytest.mark.parametrize(
    ("names", "verdict", "missing"),
    [
        (["hub.example.org", "*.hub.example.org"], "ok", ""),
        (["Hub.Example.org", "*.HUB.example.org", "x"], "ok", ""),
        (["hub.example.org"], "fail", "not for *.hub.example.org"),
        (["*.hub.example.org"], "fail", "not for hub.example.org"),
        (["*.example.org"], "fail", "*.hub.example.org and hub.example.org"),
        ([], "fail", "*.hub.example.org and hub.example.org"),
    ],
)
def test_the_certificate_has_to_be_for_every_host(tmp_path, names, verdict, missing):
    found = origins.judge_coverage(certificate(tmp_path, *names), "hub.example.org")
    assert found.verdict == verdict
    assert missing in found.text


@pytest.mark.parametrize(
    ("names", "verdict"),
    [(["localhost", "*.hub.example.org"], "ok"), (["localhost"], "fail")],
)
def test_the_proxy_in_front_is_asked_for_a_users_host(
    tmp_path, monkeypatch, names, verdict
):
    path = certificate(tmp_path, *names)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    trusting = ssl.create_default_context(cafile=str(path))
    monkeypatch.setattr(origins.ssl, "create_default_context", lambda: trusting)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            try:
                server.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        found = origins.judge_answer(f"https://localhost:{port}", "hub.example.org")
        thread.join()
    assert found.verdict == verdict, found
    # Nobody listens any more.
    found = origins.judge_answer(f"https://localhost:{port}", "hub.example.org")
    assert found.verdict == "warn"


def test_http_on_ones_own_machine_is_told_but_no_fault(load, monkeypatch):
    names_of(monkeypatch, {})
    found = findings(load('subdomains = "hub.localhost"\n'), LAPTOP)
    assert {subject: one.verdict for subject, one in found.items()} == {
        "origins": "ok",
        "names": "ok",
        "cookies": "ok",
    }
    insecure = load(f"{ON}allow_insecure = true\n")
    assert findings(insecure, CLUSTER)["cookies"].verdict == "warn"
