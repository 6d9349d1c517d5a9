"""What a kernel's user is told when there is no kernel.

::

    KernelJobError(RuntimeError)   carries a Failure: title, detail, hint, log
    ├── KernelNotStarted           the job was refused, or ended before the kernel ran
    ├── KernelJobEnded             the job is over: only its user starts another
    └── KernelUnreachable          the job may live, but nothing is heard of it now
"""

from __future__ import annotations

from spawners.batch.explain.failure import Failure


class KernelJobError(RuntimeError):
    """Something is wrong with a kernel's job.

    Attributes:
        failure: in words, for the person whose kernel it is.
    """

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(in_words(failure))


class KernelNotStarted(KernelJobError):
    """There is no kernel, and its job, if there was one, is over or cancelled."""


class KernelJobEnded(KernelJobError):
    """The job ended; nothing was submitted in its place."""


class KernelUnreachable(KernelJobError):
    """The kernel's node does not answer, and the scheduler knows of no end."""


def in_words(failure: Failure) -> str:
    """Return a failure as a few lines of text."""
    parts = [failure.title, failure.detail, failure.hint]
    text = " ".join(
        part if part.endswith((".", "!", "?", ":")) else f"{part}."
        for part in parts
        if part
    )
    return f"{text}\n{failure.log}".rstrip()
