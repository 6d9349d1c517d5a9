"""Kernels beside the notebook server, each with S3 keys of its own.

The provisioner ``landbridge-local`` is jupyter_client's own for processes of this
machine, but for the variables by which a kernel finds its keys. It is the server's
default, so that kernelspecs need not name it; one that names another keeps that.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Any  # jupyter_client's keyword arguments

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from .keys import endpoint as credentials

NAME = "landbridge-local"
_GROUP = "jupyter_client.kernel_provisioners"
_CHOSEN = "JUPYTER_DEFAULT_PROVISIONER_NAME"


class LocalKernelProvisioner(LocalProvisioner):
    """Runs one kernel as a process of this machine."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the kernel is started with."""
        launch = await super().pre_launch(**kwargs)
        env = launch["env"]
        launch["env"] = credentials.begin_kernel(
            str(self.kernel_id), env, env.get("JPY_SESSION_NAME", "")
        )
        return launch

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - theirs
        """Forget the kernel, and end its keys unless another one takes its place."""
        await super().cleanup(restart=restart)
        if not restart:
            credentials.end_kernel(str(self.kernel_id))


def link(server_app: Any) -> None:
    """Make it the default of a server whose user has not chosen another."""
    config = server_app.config.KernelProvisionerFactory
    chosen = "default_provisioner_name" in config or os.environ.get(_CHOSEN)
    if not chosen and entry_points(group=_GROUP, name=NAME):
        config.default_provisioner_name = NAME
