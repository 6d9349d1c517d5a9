"""Parsers of Slurm's answers about jobs: recorded, mangled and random ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.slurm.answers import RECORDED
from spawners.batch.errors import SchedulerUnavailable
from spawners.batch.models import JobState
from spawners.batch.slurm import cluster, sacct, sbatch, squeue
from spawners.batch.slurm.notation import expand_hosts, expand_numbers, parse_duration

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)


def recorded(name: str) -> bytes:
    """Return a recorded answer without its first line, which names the command."""
    return (RECORDED / name).read_bytes().partition(b"\n")[2]


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.fixture(scope="module")
def listing() -> dict[str, squeue.ListedJob]:
    return squeue.parse_listing(recorded("squeue-listing.txt")).jobs


def test_a_running_job(listing):
    status = squeue.status_of(listing["76"], NOW)
    assert status.state is JobState.RUNNING
    assert status.nodes == ("n1", "n2")
    assert status.started == moment(1795529901)
    assert status.ends == moment(1795531701)
    assert (status.reason, status.exit_code, status.ended) == ("", None, None)
    assert listing["76"].submitted == moment(1795529901)


def test_a_job_without_a_time_limit_has_no_end(listing):
    assert squeue.status_of(listing["97"], NOW).ends is None


@pytest.mark.parametrize(
    ("job", "state", "reason", "code", "signal"),
    [
        ("78", JobState.COMPLETED, "", 0, None),
        ("77", JobState.FAILED, "NonZeroExitCode", 3, None),
        ("79", JobState.FAILED, "JobLaunchFailure", 0, 9),
        ("73", JobState.CANCELLED, "", 0, 15),
        ("88", JobState.FAILED, "BadConstraints", None, None),
    ],
)
def test_ends(listing, job, state, reason, code, signal):
    status = squeue.status_of(listing[job], NOW)
    assert (status.state, status.reason) == (state, reason)
    assert (status.exit_code, status.signal) == (code, signal)
    assert status.ended is not None
    assert status.ends is None


def test_a_requeued_job_waits_again_with_a_new_time_of_submission(listing):
    status = squeue.status_of(listing["71"], NOW)
    assert (status.state, status.reason) == (JobState.PENDING, "BeginTime")
    assert status.restarts == 1
    assert listing["71"].submitted == moment(1795529905)


def test_reasons_that_are_prose_are_kept(listing):
    assert squeue.status_of(listing["86"], NOW).reason.startswith("Job's account not")


def test_places_are_counted_among_jobs_that_wait_for_resources():
    whole = squeue.parse_listing(recorded("squeue-listing.txt"))
    places = squeue.queue_places(whole)
    assert places["98"] < places["99"]  # equal priority: the older one first
    for waits_for_something_else in ("83", "84", "85", "86", "93", "94", "71", "87"):
        assert waits_for_something_else not in places
    assert "75" not in places


def test_a_higher_priority_comes_first_and_the_best_partition_counts():
    line = "{}|1001|9|PENDING||N/A|N/A|{}|{}|0|0|Priority|\n"
    rows = (
        ("1", 5, "a"),
        ("2", 9, "a,b"),
        ("3", 7, "a"),
        ("4", 99, "a"),
        ("5", 1, "b"),
    )
    text = "".join(line.format(*row) for row in rows)
    places = squeue.queue_places(squeue.parse_listing(text.encode()))
    assert places == {"4": 1, "2": 1, "3": 3, "1": 4, "5": 2}


def test_named_jobs_and_traces_of_refused_ones():
    named, odd = squeue.parse_named(recorded("squeue-named.txt"))
    assert odd.count == 0
    assert {job.id for job in named if job.refused} == {"88", "89", "90"}
    assert {job.user for job in named} == {"alice"}


def test_the_accounting_by_age_with_refused_traces_marked():
    rows, odd = sacct.parse_accounting(recorded("sacct.txt"), NOW)
    assert odd.count == 0
    assert [row.submitted for row in rows] == sorted(row.submitted for row in rows)
    assert {row.id for row in rows if row.refused} == {"88", "89", "90"}
    by_id = {row.id: row.status for row in rows}
    assert by_id["73"].state is JobState.CANCELLED
    assert (by_id["77"].exit_code, by_id["77"].signal) == (3, None)
    assert (by_id["79"].exit_code, by_id["79"].signal) == (0, 9)
    assert by_id["76"].nodes == ("n1", "n2")
    assert by_id["70"].state is JobState.TIMEOUT
    assert by_id["71"].state is JobState.RUNNING  # the younger of two rows


def test_the_configuration():
    config = cluster.parse_config(recorded("scontrol-config.txt"))
    assert (config.version, config.cluster) == ("22.05.8", "lab")
    assert config.accounting
    assert config.enforces_accounts
    assert not config.hides_jobs


def test_private_data_and_missing_accounting_are_noticed():
    text = recorded("scontrol-config.txt").decode()
    text = text.replace("= none\n", "= accounts,jobs\n")
    text = text.replace("accounting_storage/slurmdbd", "accounting_storage/none")
    config = cluster.parse_config(text.encode())
    assert config.hides_jobs
    assert not config.accounting


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(b"12\n", ("12", "")), (b"12;east\n", ("12", "east"))],
)
def test_the_answer_to_a_submission(answer, expected):
    assert sbatch.parse_submitted(answer) == expected


@pytest.mark.parametrize(
    "answer", [b"", b"\n", b"12", b"Submitted batch job 12\n", b"12\n13\n", b"x12\n"]
)
def test_no_other_answer_to_a_submission_is_an_id(answer):
    with pytest.raises(SchedulerUnavailable):
        sbatch.parse_submitted(answer)


def test_the_estimate_is_on_stderr_and_the_next_century_is_none():
    soon = int((datetime.now(UTC) + timedelta(hours=1)).timestamp())
    text = (
        b"sbatch: Job 65 to start at %d using 1 processors on nodes n1 in partition x"
    )
    assert sbatch.parse_estimate(text % soon) == moment(soon)
    assert sbatch.parse_estimate(text % 5822148834) is None
    assert sbatch.parse_estimate(b"allocation failure: no") is None


def test_states_unknown_to_us_are_unknown_and_ours_are_not_slurms():
    for word in ("MIGRATING", "LOST", "UNKNOWN"):
        line = f"1|1001|9|{word}|n1|9|9|1|cpu|0|0|None|\n"
        assert squeue.parse_listing(line.encode()).jobs["1"].state is JobState.UNKNOWN


def test_every_state_of_slurm_is_read():
    for state in JobState:
        if state in (JobState.LOST, JobState.UNKNOWN):
            continue
        line = f"1|1001|9|{state}|n1|9|9|1|cpu|0|0|None|\n"
        assert squeue.parse_listing(line.encode()).jobs["1"].state is state


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ("n1",)),
        ("n[1-3,7],login", ("n1", "n2", "n3", "n7", "login")),
        ("r[1-2]n[08-10]", ("r1n08", "r1n09", "r1n10", "r2n08", "r2n09", "r2n10")),
        ("", ()),
        ("(null)", ()),
        ("None assigned", ()),
        ("n[1-", ()),
        ("n[3-1]", ()),
        ("n[1-999999999]", ()),
    ],
)
def test_host_lists(text, names):
    assert expand_hosts(text) == names


def test_numbers_of_an_array():
    assert expand_numbers("3_[2-4,7%2]") == ("3_2", "3_3", "3_4", "3_7")
    assert expand_numbers("3_1") == ("3_1",)
    assert expand_numbers("37+0") == ("37+0",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1-02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("04:00:00", timedelta(hours=4)),
        ("10:30", timedelta(minutes=10, seconds=30)),
        ("2-0", timedelta(days=2)),
        ("UNLIMITED", None),
        ("NONE", None),
        ("", None),
    ],
)
def test_durations(text, expected):
    assert parse_duration(text) == expected


# -- any bytes ---------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        *b"1 2_3 1001 | FAILED RUNNING None n[1-2] 0 : N/A \0 \xff cpu a=b".split(),
        *(b"\n", b"CLUSTER: x\n", b"9999999999"),
    ]
)
ANSWERS = st.binary(max_size=200) | st.lists(_PIECES, max_size=60).map(b"".join)
_PARSERS = (
    squeue.parse_listing,
    squeue.parse_named,
    lambda answer: sacct.parse_accounting(answer, NOW),
    sbatch.parse_submitted,
    sbatch.parse_estimate,
    cluster.parse_config,
)


@given(ANSWERS)
def test_any_bytes_are_a_value_or_no_answer(answer):
    for parser in _PARSERS:
        try:
            parser(answer)
        except SchedulerUnavailable:
            continue


@given(ANSWERS)
def test_only_a_full_line_with_its_id_ends_a_job(answer):
    try:
        jobs = squeue.parse_listing(answer).jobs
    except SchedulerUnavailable:
        return
    for job in jobs.values():
        if job.state.ended:
            assert f"{job.id}|{job.uid}|".encode() in answer
            assert f"|{job.state}|".encode() in answer


@given(st.data())
def test_a_cut_listing_ends_nobody_it_does_not_name(data):
    whole = recorded("squeue-listing.txt")
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        part = squeue.parse_listing(cut).jobs
    except SchedulerUnavailable:
        return
    assert part.items() <= squeue.parse_listing(whole).jobs.items()


@given(st.text(max_size=60))
def test_any_text_is_a_host_list_a_duration_and_an_id(text):
    expand_hosts(text)
    parse_duration(text)
    expand_numbers(text)
