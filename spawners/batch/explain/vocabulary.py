"""How a kind of job is called in what people read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one kind of job; an adapter gives them with each submission.

    Attributes:
        subject: what runs in the job, in a word: ``"server"``, ``"worker"``.
        program: what has to be installed for it, as people call it, or ``""``.
    """

    subject: str = "job"
    program: str = ""

    @property
    def advice(self) -> str:
        """A question that helps where something was not found."""
        needed = self.program or "all that it needs"
        return f"Is {needed} installed in this environment?"


#: Where nobody said what runs in the job.
JOB = Vocabulary()
SERVER = Vocabulary("server", "JupyterLab")
KERNEL = Vocabulary("kernel", "the kernel (ipykernel)")
