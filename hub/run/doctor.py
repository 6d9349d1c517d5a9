"""``landbridge doctor``: what is missing or wrong on this machine, and what to do.

Each check answers with a :class:`Finding`; none changes anything. A check that
cannot be made says so: silence would read as "all is well".
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Literal

from cryptography import x509
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from hub.config.paths import check_certificate, database_url
from hub.config.ports import port_problem
from hub.config.settings import Settings
from hub.config.site import check_accounts, detect, munge_socket
from services.edge.config import default_max_connections
from services.edge.limits import CLASSROOM_CONNECTIONS, default_source
from services.jobs.settings import Site
from spawners.batch.slurm import squeue
from spawners.common.errors import GatewayError
from spawners.common.ownership import NotOurs, check_way
from spawners.common.settings import ConfigError
from spawners.common.text import size_in_words

from .cleanup import edge_runs
from .client import haproxy_version, service_answers
from .finding import Finding
from .origins import check_origins
from .processes import EDGE, ProcessSpec, process_specs

_TIMEOUT_SECONDS = 20
_LOW_DISK = 1024**3
_SOON = timedelta(days=14)
_OLDEST_SLURM = (20, 11)
_MOST_SKEW_SECONDS = 60.0
_FLOORS = {"jupyterhub": (6, 1), "tornado": (6, 5), "sqlalchemy": (2, 0)}


def run(*command: str) -> tuple[int, str]:
    """Return exit code and output of a command; 127 and the cause if it cannot run."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout.strip()


def check_versions(settings: Settings, site: Site) -> Iterator[Finding]:
    """Compare what is installed with the oldest releases that are supported."""
    for name, floor in _FLOORS.items():
        version = metadata.version(name)
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        if numbers < floor:
            needed = ".".join(map(str, floor))
            yield Finding("fail", name, f"{version} is older than {needed}")
        else:
            yield Finding("ok", name, version)


def check_disk(settings: Settings, site: Site) -> Iterator[Finding]:
    """Look at the state directory: space, and who may enter."""
    if not settings.state.exists():
        yield Finding("warn", "state", f"{settings.state} is not there yet")
        return
    try:
        check_way(settings.state)
    except NotOurs as error:
        yield Finding("fail", "state", str(error))
    free = shutil.disk_usage(settings.state).free
    text = f"{settings.state}: {size_in_words(free, 'down')} free"
    yield Finding("ok" if free > _LOW_DISK else "warn", "disk", text)
    for name in ("secrets", "run", "db", "pki"):
        path = settings.state / name
        if path.exists() and path.stat().st_mode & 0o077:
            yield Finding(
                "fail", "secrets", f"{path} is open to others", f"chmod 700 {path}"
            )


def check_database(settings: Settings, site: Site) -> Iterator[Finding]:
    """Connect to the database, and ask a SQLite file whether it is whole."""
    url = database_url(settings, "jupyterhub")
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.exists():
            yield Finding("ok", "database", f"{path} will be made at the first start")
            return
        try:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
                answer = connection.execute("PRAGMA quick_check").fetchone()[0]
        except sqlite3.Error as error:
            yield Finding("fail", "database", f"{path}: {error}")
            return
        yield Finding("ok" if answer == "ok" else "fail", "database", answer)
        return
    try:
        with create_engine(url).connect():
            yield Finding("ok", "database", "the server answers")
    except (SQLAlchemyError, ImportError) as error:
        yield Finding("fail", "database", str(error).splitlines()[0])


def check_ports(settings: Settings, site: Site) -> Iterator[Finding]:
    """Ask whether the edge can listen where the settings say."""
    if edge_runs(settings) or haproxy_version(settings):
        yield Finding("ok", "ports", "HAProxy is listening")
        return
    wanted = [(settings.hub.bind_address, settings.hub.port)]
    wanted.append((site.jobs_bind, site.jobs_port))
    for address, port in wanted:
        problem = port_problem(address, port)
        verdict: Literal["ok", "fail"] = "fail" if problem else "ok"
        yield Finding(verdict, "ports", problem or f"{address}:{port} is free")


def check_limits(settings: Settings, site: Site) -> Iterator[Finding]:
    """Ask whether the edge's limits by address are of clients, and let a class in."""
    most = settings.proxy.max_connections or default_max_connections()
    source = settings.proxy.connections_per_source or default_source(most)
    in_front = (
        settings.hub.public_url.startswith("https://")
        and not settings.hub.tls.certificate
    )
    if in_front and not settings.proxy.trusted_proxies:
        yield Finding(
            "warn",
            "limits",
            "all browsers have the address of the proxy in front, and share its limits",
            "Name the proxy's network in proxy.trusted_proxies.",
        )
        return
    few = source < CLASSROOM_CONNECTIONS
    yield Finding(
        "warn" if few else "ok",
        "limits",
        f"{most} connections, {source} of one address",
        f"A class of 200 behind one address needs {CLASSROOM_CONNECTIONS}: raise the "
        "limit of open files (LimitNOFILE) or proxy.connections_per_source."
        if few
        else "",
    )


def check_certificates(settings: Settings, site: Site) -> Iterator[Finding]:
    """Look at the certificate for browsers: does it fit its key, how long does it."""
    name = settings.hub.tls.certificate
    if not name:
        yield Finding("ok", "tls", "none is set: plain HTTP")
        return
    try:
        check_certificate(settings)
        pem = (settings.folder / name).read_bytes()
        ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (ConfigError, OSError, ValueError) as error:
        yield Finding("fail", "tls", str(error))
        return
    left = ends - datetime.now(UTC)
    text = f"valid until {ends:%Y-%m-%d}"
    if left < timedelta(0):
        yield Finding("fail", "tls", text, "Renew the certificate.")
    else:
        yield Finding("warn" if left < _SOON else "ok", "tls", text)


def check_slurm(settings: Settings, site: Site) -> Iterator[Finding]:
    """Look at version, controller, clock and what the hub's account may see."""
    if site.scheduler != "slurm":
        where = "sbatch is here" if shutil.which("sbatch") else "no sbatch on the PATH"
        yield Finding("ok", "scheduler", f"local ({where})")
        return
    code, text = run("sbatch", "--version")
    found_version = re.search(r"(\d+)\.(\d+)", text)
    if code or not found_version:
        yield Finding("fail", "slurm", text or "sbatch does not run")
        return
    new = (int(found_version[1]), int(found_version[2])) >= _OLDEST_SLURM
    yield Finding("ok" if new else "fail", "slurm", text)
    started = time.monotonic()
    code, text = run("scontrol", "show", "config")
    if code:
        yield Finding("fail", "controller", text.splitlines()[-1] if text else "silent")
        return
    took = time.monotonic() - started
    yield Finding(
        "ok" if took < 2 else "warn", "controller", f"answers in {took:.1f} s"
    )
    yield from _judge_config(text)
    times = "SLURM_TIME_FORMAT=%s"
    yield judge_listing(*run("env", times, *squeue.listing_argv()))


def judge_listing(code: int, text: str) -> Finding:
    """Judge whether the listing of all jobs can be read, line by line."""
    if code:
        last = text.splitlines()[-1] if text else "silent"
        return Finding("fail", "queue", f"squeue: {last}")
    try:
        listing = squeue.parse_listing(f"{text}\n".encode() if text else b"")
    except GatewayError as error:
        return Finding("fail", "queue", error.message)
    if listing.odd.count:
        return Finding(
            "warn",
            "queue",
            f"{listing.odd.count} lines cannot be read; they begin with: "
            f"{', '.join(listing.odd.numbers()) or '-'}",
            "These jobs are left out, and unknown if they are the gateway's. "
            "Please tell us what squeue prints of them.",
        )
    return Finding("ok", "queue", f"{len(listing.jobs)} jobs listed")


def _judge_config(text: str) -> Iterator[Finding]:
    """Judge ``scontrol show config`` (Slurm 22.05: ``Key = value`` lines)."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    config = {key.strip(): value.strip() for key, value in pairs}
    private = config.get("PrivateData", "none").lower()
    if "jobs" in private and os.geteuid() != 0:
        yield Finding(
            "warn",
            "PrivateData",
            f"{private}: jobs of others are hidden",
            "Give the hub's account operator rights (sacctmgr modify user "
            "NAME set adminlevel=operator), or each user costs a query.",
        )
    else:
        yield Finding("ok", "PrivateData", private)
    stamp = re.search(r"as of (\S+)", text)
    if stamp:
        skew = abs(datetime.now() - datetime.fromisoformat(stamp[1])).total_seconds()  # noqa: DTZ005 -- Slurm prints local time
        verdict: Literal["ok", "warn"] = "ok" if skew < _MOST_SKEW_SECONDS else "warn"
        yield Finding(verdict, "clock", f"{skew:.0f} s from the controller's")


def check_munge(settings: Settings, site: Site) -> Iterator[Finding]:
    """Make a credential and decode it, as a job's proof would be."""
    if site.proof != "munge":
        yield Finding("ok", "munge", "not used: jobs prove themselves by a token")
        return
    path = munge_socket(settings)
    if path is None:
        yield Finding("fail", "munge", "its socket is not there", "Start munged.")
        return
    code, text = run("munge", f"--socket={path}", "--no-input")
    if code:
        yield Finding("fail", "munge", text or "no credential", "Look at munged's log.")
        return
    yield Finding("ok", "munge", f"makes credentials ({path})")


def check_runner(settings: Settings, site: Site) -> Iterator[Finding]:
    """Look at the way a command becomes a user's."""
    launcher = settings.scheduler.launcher
    try:
        check_accounts(settings, site)
    except ConfigError as error:
        yield Finding("fail", "runner", error.problems[0])
        return
    if site.runner == "self" and os.geteuid() == 0:
        yield Finding("warn", "runner", "self: everybody's notebook runs as root")
    elif site.runner == "self":
        yield Finding("ok", "runner", "self: every job runs as the hub's own account")
    elif site.runner == "root":
        is_root = os.geteuid() == 0
        text = "root" if is_root else "the hub would have to be root"
        yield Finding("ok" if is_root else "fail", "runner", text)
    elif site.runner == "sudo":
        # The list of rules: as whom it may be started depends on the user.
        code, text = run("sudo", "-n", "-l")
        hint = "Install config/sudoers.d/landbridge; see the how-to on installing."
        if code or launcher not in text:
            yield Finding("fail", "runner", f"sudo refuses {launcher}: {text}", hint)
        else:
            yield Finding("ok", "runner", f"sudo allows {launcher}")
    else:
        yield from _check_ssh(settings, launcher)


def _check_ssh(settings: Settings, launcher: str) -> Iterator[Finding]:
    """Look at the way to the login node, and at what else the hub's key opens there."""
    host, account = settings.scheduler.ssh_host, settings.scheduler.ssh_user
    ssh = ("ssh", "-o", "BatchMode=yes", *(("-l", account) if account else ()), host)
    code, text = run(*ssh, launcher, "--version")
    last = text.splitlines()[-1] if text else ""
    # Behind a forced command our words are not read: it answers that it got no request.
    restricted = '"error": "malformed"' in last
    if restricted:
        last = "the launcher answers, and nothing else"
    yield Finding("fail" if code else "ok", "runner", f"ssh {host}: {last}")
    if not code and not restricted:
        yield Finding(
            "warn",
            "ssh key",
            f"the hub's key is a shell on {host}",
            'Put restrict,command="…/landbridge-launch" before it in authorized_keys; '
            "see the how-to on installing.",
        )


def check_environment(settings: Settings, site: Site) -> Iterator[Finding]:
    """Ask whether users' jobs can read and run the environment with JupyterLab."""
    place = Path(settings.jobs.environment or sys.prefix)
    program = place / "bin" / "jupyterhub-singleuser"
    if not program.exists():
        yield Finding(
            "warn",
            "environment",
            f"{program} is not on this machine",
            "Fine if compute nodes have it; else set jobs.environment.",
        )
        return
    closed = [
        str(step)
        for step in [*program.parents, Path(os.path.realpath(place / "bin/python"))]
        if not step.stat().st_mode & stat.S_IXOTH
    ]
    if closed and site.own_accounts:
        yield Finding(
            "fail",
            "environment",
            f"other accounts cannot enter {closed[-1]}",
            "Put it where every account can read it, and set jobs.environment.",
        )
        return
    yield Finding("ok", "environment", str(place))


def check_address(settings: Settings, site: Site) -> Iterator[Finding]:
    """Ask whether the address that jobs are told leads anywhere."""
    try:
        entries = socket.getaddrinfo(site.jobs_address, site.jobs_port)
    except OSError as error:
        hint = "Set jobs.address to a name or address that compute nodes know."
        text = f"{site.jobs_address}: {error.strerror}"
        yield Finding("fail", "address", text, hint)
        return
    addresses = sorted({str(item[4][0]) for item in entries})
    loopback = all(a.startswith("127.") or a == "::1" for a in addresses)
    text = f"jobs reach the hub at {site.jobs_address} ({', '.join(addresses)})"
    if loopback and site.scheduler == "slurm":
        hint = "Only jobs on this machine can: set jobs.address."
        yield Finding("warn", "address", text, hint)
    else:
        yield Finding("ok", "address", text)


def check_processes(settings: Settings, site: Site) -> Iterator[Finding]:
    """Ask each process, where some run, and look at the modes of their sockets."""
    specs = [spec for spec in process_specs(settings) if spec.socket is not None]
    here = [spec for spec in specs if spec.socket and spec.socket.exists()]
    if not here:
        yield Finding("ok", "processes", "none runs now")
        return
    for spec in specs:
        yield judge_process(spec)
    version = haproxy_version(settings)
    if version:
        yield Finding("ok", EDGE, f"HAProxy {version} serves")
    else:
        whose = "landbridge edge" if settings.proxy.managed else "the site's HAProxy"
        yield Finding("fail", EDGE, "HAProxy does not answer", f"Start {whose}.")


def judge_process(spec: ProcessSpec) -> Finding:
    """Judge one process by its socket: is it closed to others, does it answer."""
    path, again = spec.socket, f"Start it: landbridge {spec.name}."
    if path is None or not path.exists():
        return Finding("fail", spec.name, "it does not run", again)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Finding("fail", spec.name, f"{path} is open to others", again)
    if not service_answers(path, spec.health):
        return Finding("fail", spec.name, f"nobody answers at {path}", again)
    return Finding("ok", spec.name, f"answers at {path}")


Check = Callable[[Settings, Site], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    check_versions,
    check_disk,
    check_database,
    check_ports,
    check_limits,
    check_certificates,
    check_origins,
    check_slurm,
    check_munge,
    check_runner,
    check_environment,
    check_address,
    check_processes,
)


def doctor(settings: Settings, say: Callable[[str], None]) -> int:
    """Run every check and tell what was found; return 1 if anything failed."""
    site = detect(settings)
    findings = [finding for check in CHECKS for finding in check(settings, site)]
    for finding in findings:
        say(f"{finding.verdict:<4}  {finding.subject:<12} {finding.text}")
        if finding.hint and finding.verdict != "ok":
            say(f"{'':<19}{finding.hint}")
    failed = sum(finding.verdict == "fail" for finding in findings)
    say(f"{failed} of {len(findings)} checks failed." if failed else "All is well.")
    return 1 if failed else 0
