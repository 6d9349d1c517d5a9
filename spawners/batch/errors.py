"""What can go wrong between us and a batch system.

::

    BatchError
    ├── InvalidSpec            the request itself is malformed (bad input, our edge)
    ├── SubmitRejected         the scheduler or our own check says no: tell the user
    │   └── LimitReached       a limit of the user, account or QoS: may work later
    ├── SchedulerUnavailable   no answer, or one that cannot be trusted: try again
    │   └── SubmitUncertain    the answer to a submission was lost: look by name
    ├── AuthenticationBroken   munge or its key: the operator must act
    └── NotPermitted           the command may not be run as this user

Three more are about records of jobs: :mod:`spawners.batch.jobs.errors`.

Every error keeps its facts as attributes; its text says what happened, to what,
and what to try, and never holds a secret.
"""

from __future__ import annotations

from spawners.common.errors import GatewayError


class BatchError(GatewayError):
    """Something went wrong with a batch job or the scheduler."""


class InvalidSpec(BatchError):
    """A value that no batch system should ever see.

    Attributes:
        field: the name of the field that was refused, e.g. ``"memory"``.
    """

    def __init__(self, field: str, message: str, *, hint: str = "") -> None:
        self.field = field
        super().__init__(f"{field}: {message}", hint=hint)


class SubmitRejected(BatchError):
    """The job can never run as asked; asking again will not help.

    Attributes:
        field: the resource that is to blame (``"time_limit"``, ``"partition"``,
            …), or an empty string when the scheduler did not say.
    """

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        self.field = field
        super().__init__(message, hint=hint)


class LimitReached(SubmitRejected):
    """A limit of the user, account or QoS is used up; it may work later."""


class SchedulerUnavailable(BatchError):
    """The scheduler did not answer, or not in a way that can be trusted."""


class AnswerTooLong(SchedulerUnavailable):
    """A command wrote more than anybody reads; a narrower question may do."""


class SubmitUncertain(SchedulerUnavailable):
    """A submission's answer was lost: it may still become a job, even later."""


class AuthenticationBroken(BatchError):
    """Munge, its key or its socket: an operator has to act."""


class NotPermitted(BatchError):
    """We may not run this command as this user."""
