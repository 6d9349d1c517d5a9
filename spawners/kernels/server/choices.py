"""Resources chosen in the browser, kept until the kernel they are for starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Options = Mapping[str, str | int]

_MOST = 64
_GOOD_SECONDS = 900.0


class ChoiceStore:
    """What was chosen for kernels that do not exist yet, by their drawn id.

    Args:
        clock: seconds, for the tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, Options]] = {}

    def put(self, kernel_id: str, options: Options) -> None:
        """Keep checked options for a quarter of an hour; the oldest ones give way."""
        now = self._clock()
        self._kept.pop(kernel_id, None)
        self._kept = {
            key: kept
            for key, kept in list(self._kept.items())[1 - _MOST :]
            if now - kept[0] < _GOOD_SECONDS
        }
        self._kept[kernel_id] = (now, options)

    def take(self, kernel_id: str) -> Options | None:
        """Return the options for a kernel, once."""
        kept = self._kept.pop(kernel_id, None)
        if kept is None or self._clock() - kept[0] >= _GOOD_SECONDS:
            return None
        return kept[1]
