"""What Slurm says about the cluster, and requests refused by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.slurm.answers import RECORDED
from spawners.batch.errors import SchedulerUnavailable, SubmitRejected
from spawners.batch.models import Resources
from spawners.batch.scheduler import ClusterSnapshot, GpuPool, UserLimits
from spawners.batch.slurm import accounts as users
from spawners.batch.slurm import cluster
from spawners.batch.slurm.preflight import check

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
GIB = 1024**3


def recorded(name: str) -> bytes:
    """Return a recorded answer without its first line, which names the command."""
    return (RECORDED / name).read_bytes().partition(b"\n")[2]


@pytest.fixture(scope="module")
def snapshot() -> ClusterSnapshot:
    return cluster.snapshot(
        recorded("scontrol-partitions.txt"), recorded("sinfo-nodes.txt"), NOW
    )


@pytest.fixture(scope="module")
def limits() -> UserLimits:
    return users.user_limits(
        users.parse_user(recorded("sacctmgr-alice-wall.txt")),
        users.parse_accounts(recorded("sacctmgr-accounts.txt")),
        users.parse_qos(recorded("sacctmgr-qos.txt")),
    )


def test_partitions_nodes_and_gpus_of_the_recorded_cluster(snapshot):
    assert snapshot.partitions[0].name == "cpu"
    gpu = snapshot.partition("gpu")
    assert gpu.gpus == (GpuPool("a100", 8, 6, 4), GpuPool("l40", 2, 1, 2))
    assert (gpu.nodes, gpu.idle_nodes, gpu.cpus, gpu.idle_cpus) == (3, 0, 192, 188)
    assert gpu.max_time == timedelta(hours=4)
    assert gpu.default_time == timedelta(minutes=30)
    assert (gpu.max_cpus_per_node, gpu.max_nodes) == (64, 3)
    assert gpu.max_memory_per_node == 64000 * 1024**2
    assert snapshot.partition("staff").allow_accounts == {"staff"}
    assert snapshot.partition(None).name == "cpu"


def test_closed_partitions_and_dead_nodes(snapshot):
    assert not snapshot.partition("closed").up
    assert not snapshot.partition("drain").up
    broken = snapshot.partition("broken")
    assert (broken.up, broken.nodes, broken.cpus) == (True, 0, 0)


def test_addresses_are_known_for_names_that_do_not_resolve(snapshot):
    assert snapshot.node_addresses["n1"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("state", "total", "idle"),
    [
        ("idle", 4, 3),
        ("mixed", 4, 3),
        ("allocated", 4, 3),
        ("idle~", 4, 3),  # powered down, started on demand
        ("completing", 4, 0),
        ("planned", 4, 0),
        ("reserved", 4, 0),
        ("mixed-", 4, 0),
        ("idle%", 4, 0),
        ("idle@", 4, 0),
        ("draining", 0, 0),
        ("drained", 0, 0),
        ("drained*", 0, 0),
        ("down", 0, 0),
        ("idle*", 0, 0),
        ("mixed$", 0, 0),
        ("maint", 0, 0),
        ("failing", 0, 0),
        ("some_new_state", 0, 0),
    ],
)
def test_gpus_count_only_where_they_can_be_used(state, total, idle):
    line = f"g1|10.0.0.1|{state}|1/63/0/64|64000|gpu:h100:4(S:0-1)|gpu:h100:1(IDX:0)|p|"
    partitions = b"PartitionName=p State=UP MaxTime=UNLIMITED\n"
    snapshot = cluster.snapshot(partitions, f"{line}\n".encode(), NOW)
    (pool,) = snapshot.partition("p").gpus
    assert (pool.total, pool.idle, pool.per_node) == (total, idle, 4)


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:4", {"": 4}),
        ("(null)", {}),
        ("", {}),
        ("gpu:0", {"": 0}),
        ("gpu:a100:2(IDX:0,2)", {"a100": 2}),
        ("gpu:a100:2(IDX:0,2),gpu:l40:1(IDX:3)", {"a100": 2, "l40": 1}),
        ("gpu:1g.5gb:7(S:0)", {"1g.5gb": 7}),
        ("gpu:nvidia_a100_3g.20gb:2", {"nvidia_a100_3g.20gb": 2}),
        ("gpu:(null):2(IDX:0-1)", {"": 2}),
        ("shard:8,gpu:2,nvme:1T", {"": 2}),
        ("gpu:a100:2,gpu:a100:2", {"a100": 4}),
        ("gpumem:80", {}),
        ("gpu:many", {}),
    ],
)
def test_generic_resources(text, gpus):
    assert cluster.parse_gres(text) == gpus


def test_limits_of_a_user_and_of_her_accounts(limits):
    assert limits.accounts == {
        "staff": {"normal"},
        "proj": {"interactive", "long", "normal"},
    }
    assert limits.default_account == "proj"
    assert limits.max_gpus == {"proj": 6}
    assert (limits.max_jobs, limits.max_submit) == (None, None)
    assert limits.max_time == {
        "staff": timedelta(days=2),
        "proj": timedelta(hours=36),
    }
    assert limits.max_time_qos == {"interactive": timedelta(hours=8)}


def test_limits_on_numbers_of_jobs():
    user = users.parse_user(recorded("sacctmgr-bob.txt"))
    limits = users.user_limits(user, {}, {})
    assert (limits.max_jobs, limits.max_submit) == (3, 5)
    assert (limits.max_gpus, limits.max_time, limits.max_time_qos) == (None,) * 3


def test_the_narrower_of_the_users_and_the_accounts_limit_counts():
    user = users.parse_user(b"proj|lab|proj||normal|3|5||cpu=9,gres/gpu=2\n")
    limits = users.user_limits(user, {"proj": 6}, {})
    assert limits.max_gpus == {"proj": 2}


@pytest.mark.parametrize(
    ("resources", "field", "allowed"),
    [
        (Resources(partition="nope"), "partition", "cpu"),
        (Resources(partition="closed"), "partition", "gpu"),
        (Resources(partition="staff"), "account", "It allows: staff."),
        (Resources(account="x"), "account", "proj, staff"),
        (Resources(qos="x"), "qos", "interactive, long, normal"),
        (Resources(account="staff", qos="long"), "qos", "normal"),
        (Resources(time_limit=timedelta(days=2)), "time_limit", "at most 1 d."),
        (Resources(cpus=65), "cpus", "at most 64."),
        (Resources(memory=900 * GIB), "memory", "at most 67.1 GB."),
        (Resources(nodes=2), "nodes", "at most 1."),
        (Resources(partition="gpu", gpus=5), "gpus", "at most 4"),
        (Resources(partition="gpu", gpus=3, gpu_model="l40"), "gpus", "at most 2"),
        (Resources(partition="gpu", gpus=1, gpu_model="x"), "gpu_model", "a100, l40"),
        (Resources(partition="gpu", gpus=4, nodes=2), "gpus", "at most 6."),
        (Resources(gpus=1), "gpus", "partition with GPUs"),
        (
            Resources(partition="low", time_limit=timedelta(hours=37)),
            "time_limit",
            "at most 1 d 12 h.",
        ),
        (
            Resources(qos="interactive", time_limit=timedelta(hours=9)),
            "time_limit",
            "at most 8 h.",
        ),
    ],
)
def test_what_would_wait_for_ever_is_refused_with_what_is_allowed(
    snapshot, limits, resources, field, allowed
):
    with pytest.raises(SubmitRejected) as refusal:
        check(resources, snapshot, limits)
    assert refusal.value.field == field
    assert allowed in refusal.value.hint


@pytest.mark.parametrize(
    "resources",
    [
        Resources(),
        Resources(time_limit=timedelta(days=1), cpus=64),
        Resources(partition="staff", account="staff"),
        Resources(partition="gpu", gpus=4, gpu_model="a100", qos="long"),
        Resources(partition="gpu", gpus=2, nodes=3),
        Resources(partition="broken"),
    ],
)
def test_what_can_run_is_let_through(snapshot, limits, resources):
    check(resources, snapshot, limits)


def test_a_site_without_accounts_checks_none(snapshot):
    nothing = UserLimits(accounts={})
    check(Resources(account="any", qos="any"), snapshot, nothing)


@pytest.mark.parametrize(
    "output",
    [b"<html>\n", b"n1|127.0.0.1|idle\n", b"n1|127.0.0.1|idle|0/1/0/1", b"\xff\n"],
)
def test_odd_node_lines_are_no_answer(output):
    with pytest.raises(SchedulerUnavailable):
        cluster.parse_nodes(output)


def test_one_odd_node_partition_or_qos_hides_no_other(snapshot):
    nodes = b"odd node\n" + recorded("sinfo-nodes.txt") + b"n9|\xff|idle|x\n"
    partitions = recorded("scontrol-partitions.txt") + b"PartitionName=odd\n"
    found = cluster.snapshot(partitions, nodes, NOW)
    assert found.left_out == 3
    assert (found.partitions, found.node_addresses) == (
        snapshot.partitions,
        snapshot.node_addresses,
    )
    qos = recorded("sacctmgr-qos.txt")
    assert users.parse_qos(b"a|b|c\n" + qos) == users.parse_qos(qos)


def test_an_odd_line_about_a_user_is_no_answer_about_her():
    with pytest.raises(SchedulerUnavailable):
        users.parse_user(b"x|y\n" + recorded("sacctmgr-alice.txt"))


@pytest.mark.parametrize("output", [b"", b"<html>\n", b"PartitionName=x\n", b"\0\n"])
def test_odd_partition_lines_are_no_answer(output):
    with pytest.raises(SchedulerUnavailable):
        cluster.parse_partitions(output)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_no_answer(output):
    for parser in (
        cluster.parse_nodes,
        cluster.parse_partitions,
        users.parse_user,
        users.parse_accounts,
        users.parse_qos,
        lambda given: cluster.snapshot(given, given, NOW),
    ):
        try:
            parser(output)
        except SchedulerUnavailable:
            continue


@given(st.text(max_size=80))
def test_any_text_is_generic_resources(text):
    assert all(number >= 0 for number in cluster.parse_gres(text).values())
