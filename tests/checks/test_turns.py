"""Who takes which file of tests next."""

from __future__ import annotations

from rigs.turns import Work, choose


def work(seconds: float, *rigs: str) -> Work:
    return Work(frozenset(rigs), seconds)


def test_the_longest_of_what_nobody_has_begun_comes_first():
    waiting = {"a": work(5), "b": work(9), "c": work(7)}
    assert choose(waiting, set(), set()) == "b"


def test_files_of_one_rig_count_together():
    waiting = {"a": work(9), "b": work(5, "slurm"), "c": work(6, "slurm", "web")}
    assert choose(waiting, set(), set()) == "c"


def test_a_worker_stays_with_its_rigs_and_starts_as_few_more_as_can_be():
    waiting = {"a": work(99), "b": work(8, "slurm", "web"), "c": work(1, "slurm")}
    assert choose(waiting, {"slurm"}, set()) == "c"
    assert choose(waiting, {"slurm", "web"}, set()) == "b"


def test_what_runs_elsewhere_is_left_there_while_there_is_anything_else():
    waiting = {"a": work(1), "b": work(8, "slurm"), "c": work(3, "store")}
    assert choose(waiting, set(), {"slurm"}) == "c"
    assert choose(waiting, {"web"}, {"slurm", "store"}) == "a"


def test_the_longest_queue_is_helped_in_the_end():
    waiting = {"a": work(2, "store"), "b": work(4, "slurm"), "c": work(1, "slurm")}
    assert choose(waiting, set(), {"slurm", "store"}) == "b"
