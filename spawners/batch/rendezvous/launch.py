"""What travels in a job: its public environment, and its command, the agent.

The job script runs one command, :func:`agent_command`, with ``exec`` in its last line,
after the site's prologue, so that the scheduler's signals reach it::

    spec = JobSpec(script=prologue + "exec " + shlex.join(agent_command()), ...)
    await jobs.submit(spec, launch=launch, ...)   # adds job_environment()
"""

from __future__ import annotations

import base64
import ssl
import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import Literal

from spawners import node

_RUN = (
    "import os,zlib,base64;"
    'exec(zlib.decompress(base64.b64decode(os.environ["LANDBRIDGE_AGENT"])))'
)

_AGENT = (
    "memory",
    "output",
    "proof",
    "private_directory",
    "forked_program",
    "hub_link",
    "agent",
)


@dataclass(frozen=True, slots=True)
class JobSideSettings:
    """What every job is told. All of it is public.

    Attributes:
        hub_url: where jobs report, ``https://ADDRESS:PORT/hub/api/…`` without a
            slash at the end; the three calls are below it. Where nodes may reach it
            at several addresses, all of them, with spaces between.
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


#: Names of all that :func:`job_environment` may give, for scripts that list what a job
#: keeps of its environment.
AGENT_VARIABLES = (
    "LANDBRIDGE_AGENT",
    "LANDBRIDGE_JOB",
    "LANDBRIDGE_SET",
    "LANDBRIDGE_HUB",
    "LANDBRIDGE_CA",
    "LANDBRIDGE_PROOF",
    "LANDBRIDGE_PATIENCE",
    "LANDBRIDGE_MUNGE_SOCKET",
    "LANDBRIDGE_MUNGE_UID",
    "LANDBRIDGE_PYTHON",
    "LANDBRIDGE_TOKEN",
)


def agent_command(python: str = "python3") -> tuple[str, ...]:
    """Return the command that a job script runs: words to quote, one by one.

    It needs Python 3.6 or newer, found on ``PATH`` unless ``python`` is a path.
    Nothing in it is secret, and the same for all jobs.
    """
    return ("/usr/bin/env", python, "-I", "-c", _RUN)


def job_environment(
    name: str,
    settings: JobSideSettings,
    *,
    token: str | None = None,
    is_set: bool = False,
) -> dict[str, str]:
    """Return the variables that the agent reads, each one line of ASCII.

    Args:
        name: the job's, or of a set, to which each task adds its index.
        settings: what every job is told.
        is_set: it is a set's.
        token: its one-time token when ``settings.proof`` is ``"token"``.
    """
    # Some tools on the way cannot carry a variable with several lines.
    authority = base64.b64encode(ssl.PEM_cert_to_DER_cert(settings.hub_ca))
    facts = (
        _packed_agent(),
        None if is_set else name,
        name if is_set else None,
        settings.hub_url,
        authority.decode("ascii"),
        settings.proof,
        int(settings.patience.total_seconds()),
        settings.munge_socket,
        settings.munge_uid,
        settings.python,
        token,
    )
    return {
        variable: str(fact)
        for variable, fact in zip(AGENT_VARIABLES, facts, strict=True)
        if fact is not None
    }


@cache
def _packed_agent() -> str:
    """Return what :data:`_RUN` unpacks and runs."""
    program = travelling_program(_AGENT)
    return base64.b64encode(zlib.compress(program.encode(), 9)).decode("ascii")


# Finds the modules that travel before any that the node has by the same names: each is
# run when it is first imported, and not at all if nobody does.
_PROGRAM = """\
import sys
from importlib.machinery import ModuleSpec
class Travelling:
    def find_spec(self, name, path=None, target=None):
        if name in texts:
            return ModuleSpec(name, self, is_package=name in packages)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        exec(compile(texts[module.__name__], module.__name__, "exec"), module.__dict__)
packages = {packages!r}
texts = {texts!r}
for name in texts:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Travelling())
from {main} import main
sys.exit(main())
"""


@cache
def travelling_program(names: tuple[str, ...]) -> str:
    """Return a program that has modules of ``spawners.node`` and runs the last one.

    Read once: what is installed may be replaced by another release while we run.

    Args:
        names: the modules; dots for those of a folder. Only these can be imported.
    """
    modules = [f"{node.__name__}.{name}" for name in names]
    files = [_source(f"{name.replace('.', '/')}.py") for name in names]
    packages = {
        name.rsplit(".", depth)[0]
        for name in modules
        for depth in range(1, name.count(".") + 1)
    }
    texts = dict.fromkeys(sorted(packages), "") | dict(zip(modules, files, strict=True))
    return _PROGRAM.format(packages=packages, texts=texts, main=modules[-1])


def _source(name: str) -> str:
    return resources.files(node).joinpath(name).read_text("utf-8")
