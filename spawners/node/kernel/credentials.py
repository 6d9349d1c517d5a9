"""S3 keys on a kernel's node: a loopback address that passes on its server's answers.

It speaks AWS's container-credentials protocol to the job's own programs, which send
the text of a private file. Here it is taken, before the kernel starts, and the kernel
told of it; who answers there is in ``key_server.py``, which comes later: a program that
asks meanwhile waits in the backlog.

Travels in the job with ``main.py``: standard library of Python 3.6 or newer only.
"""

import binascii
import os
import socket
import sys
from typing import Dict, Optional

from spawners.node.kernel.names import Json
from spawners.node.kernel.process import write_private


def loopback_identity() -> str:
    """Return what two processes share that reach each other by 127.0.0.1."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return "%s %s" % (boot, os.readlink("/proc/self/ns/net"))
    except OSError:
        return ""


class Address:
    """The address, once :meth:`environment` has taken it.

    Attributes:
        socket: that listens there, ``None`` if there is nothing to ask for.
        token: what programs of this job's user send as ``Authorization``.
    """

    def __init__(self, directory: str) -> None:
        """Take nothing yet; ``directory`` is the job's private one."""
        self._directory = directory
        self.token = "Bearer " + binascii.hexlify(os.urandom(32)).decode("ascii")
        self.socket: Optional[socket.socket] = None

    def environment(self, told: Optional[Json]) -> Dict[str, str]:
        """Take a port and return the kernel's variables for it.

        Args:
            told: by the owner: ``here`` and ``elsewhere`` are variables for kernels
                that share the loopback ``identity`` or not, with places to fill;
                ``process`` is the text of a ``credential_process``.
        """
        if not told:
            return {}
        near = bool(told["identity"]) and told["identity"] == loopback_identity()
        variables = told["here"] if near else told["elsewhere"]
        if not variables:
            return {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(64)
        path = os.path.join(self._directory, "storage-")
        url = "http://127.0.0.1:%d/credentials" % self.socket.getsockname()[1]
        write_private(path + "token", self.token)
        write_private(path + "keys.py", told["process"])
        words = (sys.executable, "-I", path + "keys.py", url, path + "token")
        write_private(path + "keys.sh", "exec %s %s %s %s %s\n" % words)
        profile = "[default]\ncredential_process = /bin/sh %skeys.sh\n" % path
        write_private(path + "rclone", profile)
        places = {"{url}": url, "{token}": path + "token", "{rclone}": path + "rclone"}
        return {name: places.get(text, text) for name, text in variables.items()}
