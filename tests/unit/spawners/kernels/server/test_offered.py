"""What the dialog offers of a profile on a cluster as it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from spawners.batch.scheduler import ClusterSnapshot, GpuPool, Partition, UserLimits
from spawners.profiles.bounds import offered_choices
from spawners.profiles.profiles import Profile

GIB = 1024**3


@pytest.fixture
def profile() -> Profile:
    return Profile.model_validate(
        {
            "key": "custom",
            "title": "Custom",
            "choices": {
                "cpus": {"min": 1, "max": 256},
                "memory": {"min": "256M", "max": "4T"},
                "gpus": {"min": 0, "max": 16},
                "gpu_model": "any",
                "time_limit": {"min": "1min", "max": "7d"},
                "partition": "any",
                "account": "any",
                "qos": "any",
            },
        }
    )


def cluster(*partitions: Partition) -> ClusterSnapshot:
    return ClusterSnapshot(datetime.now(UTC), partitions, {})


def test_one_machine_has_nothing_to_choose_but_its_own_size(profile):
    machine = Partition("local", max_cpus_per_node=8, max_memory_per_node=16 * GIB)
    assert offered_choices(profile, cluster(machine), UserLimits(accounts={})) == {
        "cpus": {"min": 1, "max": 8},
        "memory": {"min": 256 * 1024**2, "max": 16 * GIB},
        "time_limit": {"min": 60, "max": 7 * 86_400},
    }


def test_a_cluster_offers_what_it_has(profile):
    facts = {"max_cpus_per_node": 64, "max_memory_per_node": 512 * GIB}
    gpus = (GpuPool("a100", total=8, idle=8, per_node=4),)
    day = timedelta(days=1)
    snapshot = cluster(
        Partition("cpu", max_time=day, **facts),
        Partition("gpu", max_time=day * 2, gpus=gpus, **facts),
    )
    limits = UserLimits(accounts={"a": frozenset({"normal"}), "b": frozenset({"hi"})})
    found = offered_choices(profile, snapshot, limits)
    assert found["gpus"] == {"min": 0, "max": 4}
    assert found["gpu_model"] == {"any": True}
    assert found["time_limit"]["max"] == 2 * 86_400
    assert found["partition"] == {"values": ["cpu", "gpu"]}
    assert found["account"] == {"values": ["a", "b"]}
    assert found["qos"] == {"values": ["hi", "normal"]}


def test_nothing_is_left_out_for_what_is_not_known(profile):
    assert offered_choices(profile, None, None) == profile.choices.to_json()
