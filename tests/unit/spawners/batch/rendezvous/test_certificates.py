"""Certificates: who may pose as whom, over real TLS connections."""

import ssl
import threading
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from spawners.batch.errors import AuthenticationBroken
from spawners.batch.rendezvous import certificates
from spawners.batch.rendezvous.certificates import (
    HUB_NAME,
    ensure_hub_pki,
    hub_client,
    job_host,
)


@pytest.fixture
def pki(tmp_path):
    return ensure_hub_pki(tmp_path / "pki", names=["gateway.example.org", "10.1.2.3"])


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def shake_hands(server, client, name):
    """Do a TLS 1.2+ handshake in memory; raise what the failing side raised."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = server.wrap_bio(to_server, to_client, server_side=True)
    two = client.wrap_bio(to_client, to_server, server_hostname=name)
    pending = {one, two}
    for _ in range(10):
        for side in tuple(pending):
            try:
                side.do_handshake()
                pending.discard(side)
            except ssl.SSLWantReadError:
                continue
    # TLS 1.3 clients learn of a refused client certificate only when they read.
    one.write(b"ok")
    assert two.read(2) == b"ok"


def server_context(certificate, key, client_ca=None):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca, certificate=None, key=None):
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
def job(pki, tmp_path):
    pair = pki.jobs_ca.issue_server(job_host("lb-one"))
    (tmp_path / "job.crt").write_text(pair.certificate)
    (tmp_path / "job.key").write_text(pair.key)
    return tmp_path / "job.crt", tmp_path / "job.key", pair


def test_keys_are_private_and_everything_is_made_once(pki, tmp_path):
    directory = tmp_path / "pki"
    assert directory.stat().st_mode & 0o777 == 0o700
    for name in (
        "hub-ca.key",
        "jobs-ca.key",
        "edge.pem",
        "client.pem",
        "hub-client.key",
    ):
        assert (directory / name).stat().st_mode & 0o777 == 0o600, name
    before = {path: path.read_bytes() for path in directory.iterdir()}
    ensure_hub_pki(directory, names=["10.1.2.3", "gateway.example.org"])
    assert before == {path: path.read_bytes() for path in directory.iterdir()}


def test_two_hubs_starting_at_once_make_one_authority(tmp_path):
    made = []

    def make():
        made.append(ensure_hub_pki(tmp_path / "pki").hub_ca.certificate)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


def test_a_job_certificate_is_for_one_name_and_serves_only(job):
    cert = x509.load_pem_x509_certificate(job[2].certificate.encode())
    sans = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(sans) == [x509.DNSName("lb-one.landbridge.internal")]
    usage = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert job[2].key not in repr(job[2])


def test_the_proxy_reaches_the_job_and_the_job_knows_the_proxy(pki, job):
    server = server_context(job[0], job[1], pki.hub_ca_file)
    proxy = pki.client.context()
    shake_hands(server, proxy, "lb-one.landbridge.internal")


def test_the_hub_asks_jobs_with_a_certificate_of_its_own(pki, job, tmp_path):
    server = server_context(job[0], job[1], pki.hub_ca_file)
    hub = hub_client(tmp_path / "pki")
    shake_hands(server, hub.context(), "lb-one.landbridge.internal")
    assert hub.key.read_text() != pki.client.key.read_text()
    assert hub.key.read_text() not in pki.client_pem.read_text()


def test_a_job_may_call_the_hub_under_all_its_names(pki):
    server = server_context(pki.edge_pem, pki.edge_pem)
    for name in (HUB_NAME, "gateway.example.org", "10.1.2.3"):
        shake_hands(server, client_context(pki.hub_ca_file), name)


def test_a_job_may_not_pose_as_another_as_the_hub_or_as_the_proxy(pki, job):
    proxy = pki.client.context()
    server = server_context(job[0], job[1], pki.hub_ca_file)
    with pytest.raises(ssl.SSLError, match="mismatch"):
        shake_hands(server, proxy, "lb-two.landbridge.internal")
    posing = server_context(job[0], job[1])
    with pytest.raises(ssl.SSLError, match="verify failed"):
        shake_hands(posing, client_context(pki.hub_ca_file), HUB_NAME)
    intruder = client_context(pki.jobs_ca_file, job[0], job[1])
    with pytest.raises(ssl.SSLError):
        shake_hands(server, intruder, "lb-one.landbridge.internal")
    with pytest.raises(ssl.SSLError):
        shake_hands(
            server, client_context(pki.jobs_ca_file), "lb-one.landbridge.internal"
        )
    edge = client_context(pki.jobs_ca_file, pki.edge_pem, pki.edge_pem)
    with pytest.raises(ssl.SSLError):
        shake_hands(server, edge, "lb-one.landbridge.internal")


def test_an_owners_certificate_opens_and_serves_nothing_but_as_such(pki, tmp_path):
    pair = pki.jobs_ca.issue_client(job_host("a"))
    cert, key = tmp_path / "owner.crt", tmp_path / "owner.key"
    cert.write_text(pair.certificate)
    key.write_text(pair.key)
    own = pki.jobs_ca.issue_server(job_host("a"))
    (tmp_path / "own.pem").write_text(own.key + own.certificate)
    files = [str(tmp_path / "own.pem")] * 2
    kernel = server_context(*files, client_ca=str(pki.jobs_ca_file))
    shake_hands(kernel, client_context(str(pki.jobs_ca_file), cert, key), job_host("a"))
    # A job's own certificate is none of a client.
    with pytest.raises(ssl.SSLError):
        shake_hands(
            kernel, client_context(str(pki.jobs_ca_file), *files), job_host("a")
        )
    # And the owner's is none of a server, nor one that notebook servers take.
    with pytest.raises(ssl.SSLError):
        shake_hands(
            server_context(cert, key),
            client_context(str(pki.jobs_ca_file)),
            job_host("a"),
        )
    server = server_context(*files, client_ca=str(pki.hub_ca_file))
    with pytest.raises(ssl.SSLError):
        shake_hands(
            server, client_context(str(pki.jobs_ca_file), cert, key), job_host("a")
        )


def test_what_ends_soon_is_renewed_and_older_trust_still_holds(
    pki, tmp_path, monkeypatch
):
    old_ca = tmp_path / "old-ca.crt"
    old_ca.write_bytes(pki.hub_ca_file.read_bytes())
    edge, client = load(pki.edge_pem), load(pki.client_pem)
    monkeypatch.setattr(certificates, "_CA_RENEWAL", timedelta(days=3651))
    monkeypatch.setattr(certificates, "_LEAF_RENEWAL", timedelta(days=366))
    new = ensure_hub_pki(tmp_path / "pki", names=["gateway.example.org", "10.1.2.3"])
    assert load(new.edge_pem).serial_number != edge.serial_number
    assert load(new.client_pem).serial_number != client.serial_number
    shown = new.client.certificate.with_suffix(".pem").read_text()
    assert new.client.certificate.read_text() in shown
    assert new.hub_ca.certificate != old_ca.read_text()
    server = server_context(new.edge_pem, new.edge_pem)
    shake_hands(server, client_context(old_ca), HUB_NAME)


def test_another_name_makes_a_new_edge_certificate(pki, tmp_path):
    again = ensure_hub_pki(tmp_path / "pki", names=["10.9.9.9"])
    server = server_context(again.edge_pem, again.edge_pem)
    shake_hands(server, client_context(pki.hub_ca_file), "10.9.9.9")


def test_a_key_that_others_can_read_is_refused(pki, tmp_path):
    (tmp_path / "pki" / "jobs-ca.key").chmod(0o640)
    with pytest.raises(AuthenticationBroken, match=r"jobs-ca\.key is open to others"):
        ensure_hub_pki(tmp_path / "pki")


@pytest.mark.parametrize("name", ["hub-ca.key", "hub-ca.crt", "edge.pem"])
def test_a_damaged_file_is_named(pki, tmp_path, name):
    (tmp_path / "pki" / name).write_text("damaged")
    with pytest.raises(AuthenticationBroken, match=name):
        ensure_hub_pki(tmp_path / "pki")


def test_a_foreign_authority_is_not_paired_with_our_key(pki, tmp_path):
    (tmp_path / "pki" / "hub-ca.crt").write_text(pki.jobs_ca.certificate)
    with pytest.raises(AuthenticationBroken, match="does not belong"):
        ensure_hub_pki(tmp_path / "pki")
