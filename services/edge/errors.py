"""What can go wrong between us and HAProxy.

::

    ProxyFault
    ├── BadRoute          a routespec or target that must never reach a map
    ├── ConfigRefused     HAProxy does not accept the configuration; the old one stays
    ├── StartFailed       HAProxy did not come up; holds its own last words
    └── RuntimeFault      the run-time socket gave no answer in time
        └── CommandRefused    it answered, and the answer was an error
"""

from __future__ import annotations


class ProxyFault(Exception):
    """Something went wrong with the proxy."""


class BadRoute(ProxyFault, ValueError):
    """A routespec or target that must never reach a map.

    Attributes:
        value: what was refused.
    """

    def __init__(self, value: str, reason: str) -> None:
        self.value = value
        super().__init__(f"{value!r}: {reason}")


class ConfigRefused(ProxyFault):
    """HAProxy does not accept the configuration.

    Attributes:
        detail: HAProxy's own messages.
    """

    def __init__(self, path: object, detail: str) -> None:
        self.detail = detail
        super().__init__(f"HAProxy refuses {path}: {detail}")


class StartFailed(ProxyFault):
    """HAProxy did not come up.

    Attributes:
        detail: the last lines that it wrote.
    """

    def __init__(self, command: object, detail: str) -> None:
        self.detail = detail
        super().__init__(f"{command} did not start: {detail or 'it said nothing'}")


class RuntimeFault(ProxyFault):
    """The run-time socket gave no answer in time."""


class CommandRefused(RuntimeFault):
    """HAProxy answered a command with an error.

    Attributes:
        answer: the text that it answered with.
    """

    def __init__(self, command: str, answer: str) -> None:
        self.answer = answer
        super().__init__(f"HAProxy refuses {command!r}: {answer}")
