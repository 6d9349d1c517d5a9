"""What travels in a job: its public environment, its command, its programs.

The job script runs one command, :func:`agent_command`, with ``exec`` in its last line,
after the site's prologue, so that the scheduler's signals reach it::

    spec = JobSpec(
        environment=await rendezvous.prepare(name),   # calls job_environment()
        script=prologue + "exec " + shlex.join(agent_command()),
        ...
    )
"""

from __future__ import annotations

import base64
import ssl
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import Literal

from spawners import node

# What the server is started by, and what that loads from beside it.
_SERVER_FILES = ("notebook_server.py", "server_rights.py", "kernel_pipe.py")
_RUN = (
    "import os,zlib,base64;"
    'exec(zlib.decompress(base64.b64decode(os.environ["LANDBRIDGE_AGENT"])))'
)


@dataclass(frozen=True, slots=True)
class JobSideSettings:
    """What every job is told. All of it is public.

    Attributes:
        hub_url: where jobs report, ``https://ADDRESS:PORT/hub/api/…`` without a
            slash at the end; the three calls are below it.
        hub_ca: PEM of the authority that signed that address's certificate.
        proof: ``"munge"`` or ``"token"``.
        munge_socket: munged's socket on the nodes, or ``None`` for the standard.
        munge_uid: only this uid may decode the credentials: that of the account
            which runs ``unmunge`` for the hub. ``None``: any.
        python: an environment's directory, or a Python in one, that has JupyterHub
            and JupyterLab, as seen on the nodes; ``None``: the one that the
            prologue put first on ``PATH``.
        patience: how long a job waits for a hub that does not answer.
    """

    hub_url: str
    hub_ca: str = field(repr=False)
    proof: Literal["munge", "token"] = "munge"
    munge_socket: str | None = None
    munge_uid: int | None = None
    python: str | None = None
    patience: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a job starts once it has proved itself.

    Attributes:
        argv: the command. An item may start with ``{python}`` (the environment's
            interpreter) or ``{dir}`` (the job's private directory).
        environment: variables, on top of the job's own. May hold secrets.
        files: name to text; written 0600 into the private directory before.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


_UNLESS_SAID = (
    # Kernels beside the server use sockets in the job's private directory: on TCP every
    # user of the node could read along.
    "--KernelManager.transport=ipc",
    # A websocket that nobody sends on (of events, of an extension) is told from one
    # that was left; the proxy closes what is silent for five minutes.
    "--ServerApp.websocket_ping_interval=60",
    # Packages are installed in a terminal, by somebody who sees what and where: not by
    # a click that a page could make.
    "--LabApp.extension_manager=readonly",
)


def notebook_launch(
    environment: Mapping[str, str],
    arguments: Sequence[str] = (),
    *,
    kernels: str | None = None,
) -> Launch:
    """Return how to start ``jupyterhub-singleuser`` in the user's environment.

    Args:
        environment: what JupyterHub's ``Spawner.get_env()`` gives. Where it listens
            is decided in the job; ``JUPYTERHUB_SERVICE_URL`` need not fit.
        arguments: as ``Spawner.get_args()`` gives. What they do not say of
            ``_UNLESS_SAID`` is added.
        kernels: text of the file that tells the server of kernels as jobs.
    """
    said = {argument.partition("=")[0] for argument in arguments}
    ours = [word for word in _UNLESS_SAID if word.partition("=")[0] not in said]
    files = {name: _source(name) for name in _SERVER_FILES}
    if kernels is not None:
        files["kernels.json"] = kernels
    return Launch(
        argv=("{python}", "{dir}/notebook_server.py", *ours, *arguments),
        environment=environment,
        files=files,
    )


def agent_command(python: str = "python3") -> tuple[str, ...]:
    """Return the command that a job script runs: words to quote, one by one.

    It needs Python 3.6 or newer, found on ``PATH`` unless ``python`` is a path.
    Nothing in it is secret, and the same for all jobs.
    """
    return ("/usr/bin/env", python, "-I", "-c", _RUN)


def job_environment(
    name: str, settings: JobSideSettings, *, token: str | None = None
) -> dict[str, str]:
    """Return the variables that the agent reads, each one line of ASCII.

    Args:
        name: the job's.
        settings: what every job is told.
        token: its one-time token when ``settings.proof`` is ``"token"``.
    """
    facts = {
        "LANDBRIDGE_AGENT": _packed_agent(),
        "LANDBRIDGE_JOB": name,
        "LANDBRIDGE_HUB": settings.hub_url,
        # Some tools on the way cannot carry a variable with several lines.
        "LANDBRIDGE_CA": base64.b64encode(
            ssl.PEM_cert_to_DER_cert(settings.hub_ca)
        ).decode("ascii"),
        "LANDBRIDGE_PROOF": settings.proof,
        "LANDBRIDGE_PATIENCE": str(int(settings.patience.total_seconds())),
        "LANDBRIDGE_MUNGE_SOCKET": settings.munge_socket,
        "LANDBRIDGE_MUNGE_UID": settings.munge_uid,
        "LANDBRIDGE_PYTHON": settings.python,
        "LANDBRIDGE_TOKEN": token,
    }
    return {key: str(value) for key, value in facts.items() if value is not None}


@cache
def _packed_agent() -> str:
    """Return a program that makes the agent's modules from their texts and runs it."""
    modules = [
        (f"{node.__name__}.{name}", _source(f"{name}.py"))
        for name in ("memory", "output", "hub_link", "agent")
    ]
    program = (
        "import sys, types\n"
        f"for name, text in {modules!r}:\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        "    exec(text, sys.modules[name].__dict__)\n"
        "sys.exit(sys.modules[name].main())\n"
    )
    return base64.b64encode(zlib.compress(program.encode(), 9)).decode("ascii")


def _source(name: str) -> str:
    return resources.files(node).joinpath(name).read_text("utf-8")
