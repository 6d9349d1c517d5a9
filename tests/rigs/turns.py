"""Which worker takes which file of tests: where its rigs run already, longest first.

A Slurm, a store, a gateway for browsers is started once by the worker whose turn it is,
and the files that need it go there. When the other workers have nothing else left, they
take from the longest queue and start a second one, rather than wait.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Seconds of a test, as far as its folder tells; only the order hangs on them.
_SECONDS = {"unit": 0.05, "component": 1.5, "checks": 3.0, "journeys": 12.0}
# A test that is run on each store asks for the store's rig by its parameter.
_OF_STORES = {"seaweedfs": "weed_rig", "rgw": "rgw_facts"}


@dataclass(frozen=True)
class Work:
    """The tests of one file.

    Attributes:
        rigs: the session's fixtures that they use and that have to be ended.
        seconds: what they may take.
    """

    rigs: frozenset[str]
    seconds: float


def choose(waiting: Mapping[str, Work], here: Set[str], elsewhere: Set[str]) -> str:
    """Return the file that a worker with the rigs ``here`` takes next.

    ``elsewhere`` are the rigs of all other workers. In this order: what uses a rig that
    runs here; the longest of what uses none that runs elsewhere; the longest of what
    waits most for another worker.
    """

    def of(rigs: Set[str]) -> float:
        return sum(work.seconds for work in waiting.values() if work.rigs & rigs)

    def longest(files: Iterable[str]) -> str:
        return max(files, key=lambda file: (waiting[file].seconds, file))

    own = [file for file, work in waiting.items() if work.rigs & here]
    if own:
        missing = min(len(waiting[file].rigs - here) for file in own)
        return longest(f for f in own if len(waiting[f].rigs - here) == missing)
    free = {
        file: of(work.rigs) or work.seconds
        for file, work in waiting.items()
        if not work.rigs & elsewhere
    }
    if free:
        most = max(free.values())
        return longest(file for file, seconds in free.items() if seconds == most)
    most = max(of(work.rigs) for work in waiting.values())
    return longest(file for file, work in waiting.items() if of(work.rigs) == most)


class ByRig(LoadScopeScheduling):  # type: ignore[misc]
    """Gives out whole files, by :func:`choose`."""

    def __init__(self, config: pytest.Config, log: Any, plan: Path) -> None:
        super().__init__(config, log)
        self._plan = plan
        self._work: dict[str, Work] = {}
        self._running: dict[Any, set[str]] = {}

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def schedule(self) -> None:
        """Give each worker its first files, once all have collected."""
        if not self._work:
            for file, (rigs, seconds) in json.loads(self._plan.read_text()).items():
                self._work[file] = Work(frozenset(rigs), seconds)
        super().schedule()

    def remove_node(self, node: Any) -> str | None:
        """Forget a worker, whose rigs ended with it."""
        self._running.pop(node, None)
        return super().remove_node(node)

    def _assign_work_unit(self, node: Any) -> None:
        here = self._running.setdefault(node, set())
        others = (rigs for other, rigs in self._running.items() if other is not node)
        waiting = {file: self._work[file] for file in self.workqueue}
        file = choose(waiting, here, set().union(*others))
        here |= self._work[file].rigs
        self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)


def rigs_of(item: pytest.Item) -> set[str]:
    """Return the session's fixtures that a test uses and that have to be ended."""
    information = getattr(item, "_fixtureinfo", None)
    if information is None:
        return set()
    names = {
        name
        for name, definitions in information.name2fixturedefs.items()
        if definitions[-1].scope == "session"
        and inspect.isgeneratorfunction(definitions[-1].func)
        and definitions[-1].func.__module__.partition(".")[0] != "_pytest"
    }
    call = getattr(item, "callspec", None)
    store = call.params.get("store_facts") if call else None
    return names | ({_OF_STORES[store]} if store in _OF_STORES else set())


def write_plan(items: Iterable[pytest.Item], path: Path) -> None:
    """Write down what each file of collected tests uses and takes."""
    rigs: dict[str, set[str]] = {}
    seconds: dict[str, float] = {}
    for item in items:
        file = item.nodeid.partition("::")[0]
        rigs.setdefault(file, set()).update(rigs_of(item))
        folder = file.split("/")[1] if "/" in file else ""
        seconds[file] = seconds.get(file, 0.0) + _SECONDS.get(folder, 1.0)
    path.write_text(json.dumps({f: [sorted(rigs[f]), seconds[f]] for f in rigs}))
