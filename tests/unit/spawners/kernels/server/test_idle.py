"""When a kernel counts as idle, with a clock that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from spawners.batch.models import Resources
from spawners.kernels.server.idle import IdleRule
from spawners.kernels.server.kernel import KernelPhase
from spawners.kernels.settings import KernelSettings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Kernel(SimpleNamespace):
    """What the rule looks at."""

    async def end_job(self, failure):
        self.ended = failure
        self.phase = KernelPhase.DEAD


class World:
    """One kernel, its GPU, and a clock."""

    def __init__(self, gpus=1, **settings):
        self.now, self.busy, self.asked = NOON, 0, 0
        status = SimpleNamespace(phase="running", resources=Resources(gpus=gpus))
        self.kernel = Kernel(
            kernel_id="k",
            kernel_name="python3.lb.gpu",
            status=status,
            phase=KernelPhase.RUNNING,
            kept=False,
            execution_state="idle",
            last_activity=NOON - MINUTE,
            idle_warning=None,
            ended=None,
        )
        self.rule = IdleRule(
            KernelSettings(**{"idle_after": "30min", **settings}),
            self.gpus,
            lambda: self.now,
        )

    async def gpus(self, kernel):
        self.asked += 1
        if self.busy is None:
            return None
        return [{"index": 0, "utilization": self.busy}]

    async def minutes(self, count):
        for _ in range(count):
            await self.rule.look([self.kernel])
            self.now += MINUTE


async def test_an_idle_gpu_kernel_is_warned_then_ended():
    world = World()
    await world.minutes(25)
    assert world.kernel.idle_warning is None
    await world.minutes(2)
    assert "computed nothing for 25 min" in world.kernel.idle_warning
    assert "ended in 5 min" in world.kernel.idle_warning
    assert world.kernel.ended is None
    await world.minutes(5)
    assert world.kernel.ended.title == "Ended because it was idle"


@pytest.mark.parametrize(
    "act",
    [
        lambda w: setattr(w, "busy", 60),
        lambda w: setattr(w.kernel, "last_activity", w.now),
        lambda w: setattr(w.kernel, "execution_state", "busy"),
        lambda w: setattr(w.kernel, "kept", True),
    ],
    ids=["gpu", "cell done", "cell runs", "kept"],
)
async def test_use_takes_the_warning_back(act):
    world = World()
    await world.minutes(27)
    assert world.kernel.idle_warning
    act(world)
    await world.minutes(8)
    assert world.kernel.idle_warning is None
    assert world.kernel.ended is None


async def test_without_word_of_the_gpu_execution_decides():
    world = World()
    world.busy = None
    await world.minutes(32)
    assert world.kernel.ended


async def test_a_kernel_that_is_not_heard_of_is_left_alone():
    world = World()
    world.kernel.status.phase = "lost"
    await world.minutes(60)
    assert world.kernel.ended is None


async def test_cpu_kernels_are_left_alone_unless_asked():
    world = World(gpus=0)
    await world.minutes(60)
    assert world.kernel.ended is None
    world = World(gpus=0, idle_after_cpu="10min")
    await world.minutes(12)
    assert world.kernel.ended
    assert world.asked == 0


def test_looks_are_as_seldom_as_they_can_be():
    assert World().rule.every == MINUTE
    assert World(idle_after="20s").rule.every == timedelta(seconds=2)
    assert World(idle_after=None).rule.every is None
