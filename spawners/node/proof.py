"""How a job proves whose it is, and the error by which it ends.

Travels in the job with ``agent.py`` and ``kernel/launcher.py``: standard library of
Python 3.6 or newer only.
"""

import subprocess

_MUNGE_SECONDS = 30


class JobMustEnd(Exception):
    """The job has to end: what to say, and with which exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def munge_credential(text: str, socket: str = "", uid: str = "") -> str:
    """Return a munge credential of this job's user for ``text``, good for one use.

    Args:
        text: ASCII, which whoever decodes it can read.
        socket: munged's; ``""`` for the usual one.
        uid: of the only account that may decode it; ``""`` for any.

    Raises:
        JobMustEnd: this node has no munge that answers.
    """
    argv = ["munge"]
    if socket:
        argv.append("--socket=" + socket)
    if uid:
        argv.append("--restrict-uid=" + uid)
    try:
        done = subprocess.run(
            argv,
            input=text.encode("ascii"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=_MUNGE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = "munge: %s." % error
        raise JobMustEnd("This node cannot prove who you are: " + why) from None
    if done.returncode:
        why = done.stderr.decode("utf-8", "replace").strip()
        raise JobMustEnd("This node cannot prove who you are: " + why)
    return done.stdout.decode("ascii").strip()
