"""The command of a kernel's job: it starts the kernel, then the launcher.

The job's agent has fetched it (see ``spawners.kernels.launch``), proved the job, and
starts it. It needs nothing but Python 3.6 or newer, and:

1. reads what the agent laid into the job's private directory: the kernel's command,
   variables and keys, which no script or argument ever held; and removes it;
2. starts the kernel, which takes longest to be ready;
3. loads meanwhile what serves the kernel (``launcher.py``), and runs it.
"""

import json
import os
import sys

from spawners.node.kernel.credentials import Address
from spawners.node.kernel.process import start_kernel


def take(directory: str, name: str) -> str:
    """Return the text of a file that is then no more."""
    path = os.path.join(directory, name)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    os.unlink(path)
    return text


def main() -> int:
    """Run the job's command; return its exit code."""
    directory = sys.argv[1]
    os.set_inheritable(int(os.environ["LANDBRIDGE_READY_FD"]), False)  # noqa: FBT003
    launch = json.loads(take(directory, "kernel.json"))
    identity = take(directory, "server.key") + take(directory, "server.crt")
    authority = take(directory, "jobs-ca.crt")
    keys = Address(directory)
    launch["keys"] = keys.environment(launch.get("storage"))
    kernel = start_kernel(1, directory, launch, launch["connection"])
    try:
        # asyncio takes longer to be imported than all that was done so far.
        from spawners.node.kernel.launcher import Launcher, run

        launcher = Launcher(directory, launch, identity, authority, kernel, keys)
    except BaseException:
        kernel.kill()
        raise
    return run(launcher)


if __name__ == "__main__":
    sys.exit(main())
