"""A process's numbers for Prometheus: requests, calls, and what it is busy with.

Requests and calls are counted where they happen, in the process's own registry. What a
service knows of itself (tasks, queues, jobs) it tells when it is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from hmac import compare_digest
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spawners.common.ownership import NotOurs, read_own

from .errors import NotSignedIn

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REQUESTS = Histogram(
    "landbridge_request_seconds",
    "Time that requests took, by route and status.",
    ["method", "route", "status"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)

Numbers = Callable[[], Iterable[Metric]]
"""What a service tells of itself now."""


class _Now(Collector):
    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterable[Metric]:
        return self._numbers()


def exposition(numbers: Numbers) -> bytes:
    """Return all numbers of this process, in Prometheus' text format."""
    now = CollectorRegistry(auto_describe=False)
    now.register(_Now(numbers))
    return generate_latest(REGISTRY) + generate_latest(now)


def gauge(
    name: str, help_text: str, values: Mapping[str, float], label: str = ""
) -> GaugeMetricFamily:
    """Return one number, or one for each value of a label.

    Args:
        name: with its unit; ``landbridge_`` comes before it.
        help_text: what it counts.
        values: by the label's value; ``{"": number}`` where there is no label.
        label: its name.
    """
    family = GaugeMetricFamily(
        f"landbridge_{name}", help_text, labels=[label] if label else []
    )
    for word, value in values.items():
        family.add_metric([word] if label else [], value)
    return family


class MetricsToken:
    """The token of whoever collects the numbers; the hub knows it as well.

    Args:
        file: holds it, for us to read alone.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def is_shown_by(self, authorization: str) -> bool:
        """Whether a request's ``Authorization`` has the token."""
        kind, _, token = authorization.partition(" ")
        if kind.lower() not in ("bearer", "token"):
            return False
        try:
            kept = read_own(self._file).decode("ascii", "replace").strip()
        except (FileNotFoundError, NotOurs) as error:
            log.warning("No metrics token can be read: %s", error)
            return False
        return bool(kept) and compare_digest(kept.encode(), token.strip().encode())

    def require(self, authorization: str) -> None:
        """Return if a request may read the numbers.

        Raises:
            NotSignedIn: it may not.
        """
        if not self.is_shown_by(authorization):
            raise NotSignedIn(
                "These numbers need the metrics token.",
                hint="It lies in secrets/service-metrics.token of the state directory.",
            )
