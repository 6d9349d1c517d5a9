"""Lines about other people's jobs decide about nothing but themselves (H3).

Whatever strangers' jobs look like in a listing, in the accounting or in a look-up by
name, ours are read as if they were alone.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.slurm.answers import ENDED, JOB, LINE, NAMED, ROW, Runner, scheduler
from spawners.batch import errors
from spawners.batch.models import BatchJob, JobState
from spawners.batch.scheduler import ABSENT
from spawners.batch.slurm import identity, sacct, squeue

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
# As squeue printed it after `sbatch --begin=9999-12-31 -n1 --wrap=true` (H3).
FAR = b"51|1003|1795529900|PENDING||253402300799|N/A|9|cpu|0|0|BeginTime|\n"
SECOND = dataclasses.replace(JOB, id="80_1", uid=1002, user="bob")
ABSENTEE = dataclasses.replace(JOB, id="77", uid=1001)
OURS = (JOB, SECOND, ABSENTEE)
SECOND_LINE = LINE.replace(b"75|1001|", b"80_1|1002|")
# Of a set of alice's the third task left the array before it started.
TASKS = tuple(
    dataclasses.replace(JOB, id=f"85_{n}", name=f"lb-set-{n}") for n in range(3)
)
TASK_LINES = [LINE.replace(b"75|", b"85_%d|" % n, 1) for n in range(2)]

_NUMBERS = (b"75", b"80", b"80_1", b"77", b"51", b"0", b"99999999999", b"1001", b"-1")
_ODD = st.sampled_from(
    [
        *(b"|", b"||", b"\r", b"\0", b"\xff", b"\xe2\x80\xa8", b"\x1b[2J", b" "),
        *(b"RUNNING", b"FAILED", b"COMPLETED", b"253402300799", b"9" * 25, b"None"),
        *(b"n[1-9999999]", b"(null)", b"CLUSTER: x", LINE[:-1], ENDED[:-1]),
        *_NUMBERS,
    ]
)
_TAIL = st.lists(_ODD | st.binary(max_size=12), max_size=8).map(b"".join)
_UIDS = st.integers(0, 2**32 - 1).filter(lambda uid: uid not in (1001, 1002))
_IDS = st.sampled_from([*range(60, 90), 1, 9_999_999_999]).map(str)
_TASKS = st.sampled_from(["", "_0", "_1", "_[0-3%2]", "+1", "_[weird]", ";x"])


@st.composite
def foreign(draw: st.DrawFn) -> bytes:
    """One line of a job of somebody else's; what follows id and uid is anything.

    It may have the number of one of our jobs: ids come back.
    """
    head = f"{draw(_IDS)}{draw(_TASKS)}|{draw(_UIDS)}|".encode()
    whole = LINE.partition(b"|")[2].partition(b"|")[2][:-1]
    fields = whole.split(b"|")
    if draw(st.booleans()):  # nearly right: one field is another thing
        fields[draw(st.integers(0, len(fields) - 1))] = draw(_TAIL)
        return head + b"|".join(fields).replace(b"\n", b"") + b"\n"
    return head + draw(_TAIL).replace(b"\n", b"") + b"\n"


def shuffled(own: list[bytes], others: list[bytes], places: list[int]) -> bytes:
    lines = list(own)
    for line, place in zip(others, places, strict=False):
        lines.insert(place % (len(lines) + 1), line)
    return b"".join(lines)


_OTHERS = st.lists(foreign(), max_size=12)
_PLACES = st.lists(st.integers(0, 99), min_size=12, max_size=12)


def readings_of(answer: bytes) -> dict[BatchJob, object]:
    listing = squeue.parse_listing(answer)
    odd = identity.odd(OURS, listing)
    readings = identity.present(OURS, listing, (), NOW)
    return {job: "odd" if job in odd else readings.get(job) for job in OURS}


@given(_OTHERS, _PLACES)
def test_no_line_of_anothers_job_changes_a_reading_of_ours(
    others: list[bytes], places: list[int]
) -> None:
    alone = readings_of(LINE + SECOND_LINE)
    assert alone[ABSENTEE] is None
    assert readings_of(shuffled([LINE, SECOND_LINE], others, places)) == alone


@given(_OTHERS, _PLACES, st.lists(_TAIL, min_size=1, max_size=5))
def test_nor_do_newlines_in_it_that_begin_with_no_id(
    others: list[bytes], places: list[int], texts: list[bytes]
) -> None:
    """Free text is not in the format; should it ever be, ours are still read."""
    lines = b"\n".join(texts).split(b"\n")
    loose = [line + b"\n" for line in lines if not re.match(rb"[0-9]+[^|]*\|", line)]
    own = [LINE, SECOND_LINE, b"51|1003|x\n" + b"".join(loose)]
    found = readings_of(shuffled(own, others, places))
    alone = readings_of(LINE + SECOND_LINE)
    assert (found[JOB], found[SECOND]) == (alone[JOB], alone[SECOND])
    # A job that is missing may be told so, or be unknown: it is never read as ended.
    assert found[ABSENTEE] in (None, "odd")


@given(_OTHERS, _PLACES)
def test_no_row_of_anothers_job_changes_what_the_accounting_says_of_ours(
    others: list[bytes], places: list[int]
) -> None:
    rows, odd = sacct.parse_accounting(shuffled([ROW], others, places), NOW)
    readings = identity.past([JOB, ABSENTEE], rows, odd, NOW)
    assert readings[JOB].state is JobState.COMPLETED
    assert readings[ABSENTEE].reason == ABSENT


@given(_OTHERS, _OTHERS, _PLACES)
def test_no_array_of_anothers_says_that_a_task_of_ours_left_its_own(
    listed: list[bytes], accounted: list[bytes], places: list[int]
) -> None:
    def left(own: list[bytes]) -> set[BatchJob]:
        listing = squeue.parse_listing(shuffled(own, listed, places))
        return identity.left_their_arrays(TASKS[2:], listing)

    assert left(TASK_LINES) == {TASKS[2]}
    younger = [line.replace(b"529901|", b"529999|", 1) for line in TASK_LINES]
    for own in ([LINE], younger):
        assert left(own) == set()
    rows, odd = sacct.parse_accounting(shuffled([ROW], accounted, places), NOW)
    assert identity.past(TASKS, rows, odd, NOW)[TASKS[2]].reason == ABSENT


@given(_OTHERS, _PLACES)
def test_no_line_of_anothers_job_hides_a_name_of_ours(
    others: list[bytes], places: list[int]
) -> None:
    listing = squeue.parse_listing(LINE)
    named, _ = squeue.parse_named(shuffled([NAMED], others, places))
    assert identity.confirmed([JOB], listing, named) == {JOB}


@given(_TAIL)
def test_our_own_line_that_does_not_fit_never_makes_the_job_absent_or_ended(
    tail: bytes,
) -> None:
    answer = b"75|1001|" + tail.replace(b"\n", b"") + b"\n" + SECOND_LINE
    found = readings_of(answer)
    assert found[JOB] == "odd"
    assert found[SECOND] == readings_of(SECOND_LINE)[SECOND]


async def test_a_job_that_waits_for_7000_years_blinds_nobody() -> None:
    runner = Runner(listing=FAR + LINE)
    assert (await scheduler(runner).status([JOB]))[JOB].state is JobState.RUNNING
    wider = FAR.replace(b"253402300799", b"1" * 20)
    runner = Runner(listing=wider + LINE)
    assert (await scheduler(runner).status([JOB]))[JOB].state is JobState.RUNNING


@pytest.mark.parametrize("seconds", [0, 253_402_300_799, 253_402_300_800, 10**19])
def test_any_time_is_a_moment_or_none(seconds: int) -> None:
    line = LINE.replace(b"1795531701", str(seconds).encode())
    job = squeue.parse_listing(line).jobs["75"]
    ends = squeue.status_of(job, NOW).ends
    assert ends is None or ends.year < 10_000


async def test_one_odd_line_of_ours_makes_one_job_unknown_and_asks_no_accounting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = LINE.replace(b"RUNNING", b"running")
    runner = Runner(listing=odd + SECOND_LINE, sacct=ROW)
    slurm = scheduler(runner)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            readings = await slurm.status([JOB, SECOND])
    assert readings[JOB].state is JobState.UNKNOWN
    assert readings[JOB].reason not in ("", ABSENT)
    assert readings[SECOND].state is JobState.RUNNING
    assert "sacct" not in runner.kinds()
    told = [record for record in caplog.records if "cannot be read" in record.message]
    assert len(told) == 2  # of the job and of the line: once, not at every look
    assert "75" in told[0].message


async def test_a_look_up_by_name_that_fails_leaves_the_other_jobs_read() -> None:
    again = LINE.replace(b"901|RUNNING", b"905|RUNNING")
    broken = (1, b"", b"slurm_load_jobs error: Socket timed out\n")
    runner = Runner(listing=again + SECOND_LINE, named=broken)
    readings = await scheduler(runner).status([JOB, SECOND])
    assert readings[JOB].state is JobState.UNKNOWN
    assert readings[JOB].reason != ABSENT
    assert readings[SECOND].state is JobState.RUNNING


async def test_a_name_whose_line_is_odd_is_not_absent() -> None:
    again = LINE.replace(b"901|RUNNING", b"905|RUNNING")
    runner = Runner(listing=again, named=NAMED.replace(b"RUNNING", b"running"))
    status = (await scheduler(runner).status([JOB]))[JOB]
    assert (status.state, status.reason == ABSENT) == (JobState.UNKNOWN, False)


async def test_an_odd_line_is_cancelled_later_not_forgotten() -> None:
    runner = Runner(one=LINE.replace(b"RUNNING", b"running"))
    with pytest.raises(errors.SchedulerUnavailable):
        await scheduler(runner).cancel(JOB)
    assert "scancel" not in runner.kinds()


async def test_an_odd_line_under_the_jobs_name_is_not_nothing_found() -> None:
    for answers in (
        {"named": NAMED.replace(b"RUNNING", b"running")},
        {"named": b"", "sacct": ROW.replace(b"COMPLETED", b"completed")},
    ):
        with pytest.raises(errors.SchedulerUnavailable):
            await scheduler(Runner(**answers)).find("lb-run", user="alice")


async def test_an_odd_row_of_ours_leaves_that_job_unknown() -> None:
    rows = ROW.replace(b"COMPLETED", b"completed") + ROW.replace(b"75|", b"80_1|")
    rows = rows.replace(b"80_1|1001", b"80_1|1002")
    runner = Runner(listing=b"", sacct=rows)
    readings = await scheduler(runner).status([JOB, SECOND])
    assert (readings[JOB].state, readings[JOB].reason) == (JobState.UNKNOWN, "")
    assert readings[SECOND].state is JobState.COMPLETED


FLOOD = LINE.replace(b"75|1001|", b"76|1003|") * 600_000


@pytest.mark.parametrize(
    "flood",
    [FLOOD, errors.AnswerTooLong("squeue wrote too much.")],
    ids=["long", "cut"],
)
async def test_a_flood_of_others_jobs_leaves_ours_to_be_asked_about_alone(
    flood: bytes | errors.AnswerTooLong,
) -> None:
    waiting = SECOND_LINE.replace(b"RUNNING|n1", b"PENDING|")
    runner = Runner(listing=flood, one=LINE + waiting)
    readings = await scheduler(runner).status([*OURS])
    assert runner.kinds() == ["listing", "one", "sacct"]
    assert "--jobs=75,77,80" in runner.calls[2][1]
    assert readings[JOB].state is JobState.RUNNING
    assert readings[SECOND].state is JobState.PENDING
    assert readings[SECOND].queue_place is None  # who is before it, nobody listed
    assert readings[ABSENTEE].reason == ABSENT


@pytest.mark.parametrize(
    ("said", "reason"),
    [(b"slurm_load_jobs error: Invalid job id specified\n", ABSENT), (b"oh\n", None)],
)
async def test_a_narrow_question_is_answered_or_not_like_any_other(
    said: bytes, reason: str | None
) -> None:
    runner = Runner(listing=FLOOD, one=(1, b"", said))
    if reason is None:
        with pytest.raises(errors.SchedulerUnavailable):
            await scheduler(runner).status([JOB])
        return
    assert (await scheduler(runner).status([JOB]))[JOB].reason == reason
