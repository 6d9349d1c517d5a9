"""What a page says of a choice, from the last reading."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rigs.hub.cluster_pictures import CLOSED, CPU, GPU, STAFF, picture
from spawners.batch.models import Resources
from spawners.batch.scheduler import GpuPool
from spawners.profiles.availability import age_in_words, availability, cluster_rows

CLUSTER = picture(CPU, GPU, CLOSED)


@pytest.mark.parametrize(
    ("asked", "tone", "text"),
    [
        ({"cpus": 64}, "good", "Free now"),
        ({"cpus": 65}, "wait", "Waits: 64 cores idle"),
        ({"cpus": 33, "nodes": 2}, "wait", "Waits: 64 cores idle"),
        ({"gpus": 3, "partition": "gpu"}, "good", "Free now: 3 GPUs idle"),
        ({"gpus": 4, "partition": "gpu"}, "wait", "Waits: 3 GPUs idle"),
        ({"gpus": 2, "nodes": 2, "partition": "gpu"}, "wait", "Waits: 3 GPUs idle"),
        (
            {"gpus": 1, "cpus": 9, "partition": "gpu"},
            "wait",
            "Waits: 8 cores idle beside the GPUs",
        ),
        (
            {"gpus": 1, "gpu_model": "l40", "partition": "gpu"},
            "wait",
            "Waits: no l40 GPU idle",
        ),
        (
            {"gpus": 1, "gpu_model": "h100", "partition": "gpu"},
            "bad",
            "No h100 GPU in partition gpu",
        ),
        ({"gpus": 1}, "bad", "No GPU in partition cpu"),
        ({"partition": "closed"}, "bad", "Partition closed is closed now"),
        ({"partition": "nowhere"}, "bad", "There is no partition nowhere"),
    ],
)
def test_a_choice_is_judged_by_the_reading(
    asked: dict[str, object], tone: str, text: str
) -> None:
    judged = availability(Resources(**asked), CLUSTER)  # type: ignore[arg-type]
    assert (judged.tone, judged.text) == (tone, text)
    assert judged.starts_now is (tone == "good")


def test_nothing_is_promised_before_the_first_reading() -> None:
    judged = availability(Resources(), None)
    assert judged.tone == ""
    assert not judged.starts_now


def test_a_partition_without_live_nodes_is_waited_for() -> None:
    down = replace(CPU, nodes=0, idle_cpus=0)
    assert availability(Resources(), picture(down)).tone == "wait"
    assert not cluster_rows([down])[0].up


def test_a_cluster_without_a_default_leaves_it_to_the_scheduler() -> None:
    judged = availability(Resources(), picture(GPU))
    assert judged.text == "The scheduler chooses the partition"


def test_a_single_gpu_is_told_as_one() -> None:
    one = replace(GPU, gpus=(GpuPool("", 1, 1, 1),))
    judged = availability(Resources(gpus=1, partition="gpu"), picture(one))
    assert judged.text == "Free now: 1 GPU idle"


def test_the_table_counts_in_words() -> None:
    cpu, gpu, closed = cluster_rows([CPU, GPU, CLOSED])
    assert (cpu.gpus, cpu.cpus, cpu.cpu_percent, cpu.nodes, cpu.max_time) == (
        "none",
        "64 of 128",
        50,
        "1 of 2",
        "1 d",
    )
    assert gpu.gpus == "a100: 3 of 8, l40: 0 of 2"
    assert not closed.up
    assert closed.max_time == "no limit"


def test_partitions_that_may_not_be_used_are_not_in_the_table() -> None:
    names = [row.name for row in cluster_rows([CPU, STAFF], {"proj"})]
    assert names == ["cpu"]
    assert len(cluster_rows([CPU, STAFF], {"proj", "staff"})) == 2
    assert len(cluster_rows([CPU, STAFF], set())) == 2  # the site keeps no accounts


def test_closed_partitions_come_last() -> None:
    names = [row.name for row in cluster_rows([CLOSED, CPU, GPU])]
    assert names == ["cpu", "gpu", "closed"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Read just now"),
        (40.9, "Read 40 s ago"),
        (600, "Read 10 min ago: the scheduler is slow or away"),
    ],
)
def test_the_age_of_a_reading_is_told(seconds: float, text: str) -> None:
    assert age_in_words(seconds) == text
