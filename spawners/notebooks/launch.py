"""How a job starts ``jupyterhub-singleuser`` in its user's environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from spawners import node
from spawners.batch.models import Launch

# What the server is started by, and what that loads from beside it.
_SERVER_FILES = ("notebook_server.py", "server_rights.py", "kernel_pipe.py")

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
    folder = resources.files(node)
    files = {name: folder.joinpath(name).read_text("utf-8") for name in _SERVER_FILES}
    if kernels is not None:
        files["kernels.json"] = kernels
    return Launch(
        argv=("{python}", "{dir}/notebook_server.py", *ours, *arguments),
        environment=environment,
        files=files,
    )
