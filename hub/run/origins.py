"""What ``landbridge doctor`` asks about hosts: are users kept apart, and how well."""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from hub.config.ports import port_problem
from hub.config.settings import Settings, is_loopback
from hub.subdomains import host_cookies
from services.jobs.settings import Site

from .finding import Finding

_PATIENCE_SECONDS = 10
# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH.
_HOSTNAME_MISMATCH = 62


def check_origins(settings: Settings, site: Site) -> Iterator[Finding]:
    """Ask whether users' pages are kept apart, and whether their hosts lead here."""
    domain = settings.hub.subdomains
    if not domain:
        one_person = not site.own_accounts and is_loopback(settings.hub.bind_address)
        yield Finding(
            "ok" if one_person else "warn",
            "origins",
            "users' servers share one origin with each other",
            "A page of one user's server can act in the name of another who opens it. "
            "Where users do not trust each other, set hub.subdomains: see the how-to "
            "on keeping users apart.",
        )
        return
    yield Finding("ok", "origins", f"each user has a host of her own below {domain}")
    yield judge_names(domain)
    if not host_cookies(settings):
        yield Finding(
            "ok" if domain.endswith(".localhost") else "warn",
            "cookies",
            "by plain http one user's page can set cookies that the hub reads",
            "Set hub.tls, or hub.public_url to the https address of a proxy in front.",
        )
    elif settings.hub.tls.certificate:
        yield judge_coverage(settings.folder / settings.hub.tls.certificate, domain)
    else:
        yield judge_answer(settings.origin, domain)


def judge_names(domain: str) -> Finding:
    """Look a name up that nobody has: does every name lead to the gateway?"""
    name = f"{secrets.token_hex(6)}.{domain}"
    try:
        addresses = _addresses(name)
    except OSError as error:
        if domain.endswith(".localhost"):
            text = f"browsers take *.{domain} for this machine without asking anybody"
            return Finding("ok", "names", text)
        return Finding(
            "fail",
            "names",
            f"{name}: {error.strerror}",
            f"Add a record for *.{domain} to the DNS, with the address of {domain}.",
        )
    text = f"*.{domain} leads to {', '.join(addresses)}"
    try:
        hubs = _addresses(domain)
    except OSError as error:
        hint = f"Add a record for {domain} itself to the DNS."
        return Finding("fail", "names", f"{domain}: {error.strerror}", hint)
    if addresses != hubs:
        return Finding(
            "fail",
            "names",
            f"{text}, {domain} to {', '.join(hubs)}",
            "Both have to lead to the gateway.",
        )
    if not any(port_problem(address, 0) == "" for address in addresses):
        return Finding(
            "warn",
            "names",
            f"{text}, which is not this machine",
            "That is right if the proxy in front of the gateway is there.",
        )
    return Finding("ok", "names", text)


def _addresses(name: str) -> list[str]:
    entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in entries})


def judge_coverage(path: Path, domain: str) -> Finding:
    """Look whether the certificate is for the hub's host and for all below it."""
    wanted = {domain, f"*.{domain}"}
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    except (OSError, ValueError) as error:
        return Finding("fail", "tls names", str(error))
    missing = sorted(wanted - {name.lower() for name in names})
    if missing:
        return Finding(
            "fail",
            "tls names",
            f"the certificate is not for {' and '.join(missing)}",
            f"Browsers refuse users' servers: get one for {domain} and *.{domain}.",
        )
    return Finding("ok", "tls names", f"the certificate is for {domain} and *.{domain}")


def judge_answer(origin: str, domain: str) -> Finding:
    """Ask whoever answers by https in front of the gateway for a user's host."""
    here = urlsplit(origin)
    name = f"{secrets.token_hex(6)}.{domain}"
    place = (here.hostname or "", here.port or 443)
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection(place, timeout=_PATIENCE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        mismatch = error.verify_code == _HOSTNAME_MISMATCH
        return Finding(
            "fail" if mismatch else "warn",
            "tls names",
            f"{origin} as {name}: {error.verify_message}",
            "Browsers refuse users' servers: the certificate of the proxy in front "
            f"has to be for {domain} and *.{domain}.",
        )
    except OSError as error:
        return Finding(
            "warn",
            "tls names",
            f"{origin} cannot be asked from here: {error}",
            f"See that its certificate is for {domain} and *.{domain}.",
        )
    return Finding("ok", "tls names", f"{origin} has a certificate for *.{domain}")
