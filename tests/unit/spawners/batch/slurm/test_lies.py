"""Listings that lie (fault F11): the job is unknown then, and never ended."""

from __future__ import annotations

import pytest

from rigs.slurm.answers import ENDED, GHOSTS, JOB, LINE, ROW, Answer, Runner, scheduler
from spawners.batch import errors
from spawners.batch.models import JobState
from spawners.batch.scheduler import ABSENT

LIES: dict[str, Answer] = {
    "time-out": errors.SchedulerUnavailable("squeue did not answer within 30 s."),
    "nothing, exit code 1": (1, b"", b""),
    "nothing, killed": (-9, b"", b""),
    "an ended line, exit code 1": (1, ENDED, b""),
    "an ended line, killed": (-15, ENDED, b""),
    "cut in the line": ENDED[:-5],
    "cut before the newline": ENDED[:-1],
    "cut in another line": ENDED + LINE[:20],
    "a header": b"JOBID|USER|STATE|\n" + ENDED,
    "only a header": b"JOBID|USER|STATE|\n",
    "a page of HTML": b"<html><body>502 Bad Gateway</body></html>\n",
    "JSON": b'{"jobs": [{"job_id": 75, "job_state": "FAILED"}]}\n',
    "usage": b"Usage: squeue [-A account] [--clusters names]\n" + ENDED,
    "a warning before the lines": b"Module loaded.\n" + ENDED,
    "a warning after the lines": ENDED + b"Connection closed.\n",
    "no UTF-8": ENDED + b"\xff\xfe\n",
    "NUL bytes": ENDED + b"\0\n",
    "carriage returns": ENDED.replace(b"\n", b"\r\n"),
    "an empty line": b"\n" + ENDED,
    "50 MB": LINE.replace(b"75|", b"76|") * 800_000,
    "50 MB without a newline": b"x" * 50_000_000,
    "the job twice, once ended": LINE + ENDED,
    "a field less": ENDED.replace(b"n1|", b"", 1),
    "a field more, empty": ENDED.replace(b"75|", b"75||", 1),
    "a state in lower case": ENDED.replace(b"FAILED", b"failed"),
    "a state of another release": ENDED.replace(b"FAILED", b"VANISHED"),
    "our own word for it": ENDED.replace(b"FAILED", b"LOST"),
    "local time": ENDED.replace(b"1795529901", b"2026-11-24T14:18:21"),
    "a negative id": b"-" + ENDED,
    "an id in another script": ENDED.replace(b"75|", b"\xd9\xa7\xd9\xa5|", 1),
    "an error on stderr and nothing": (0, b"", b"squeue: error: Invalid user: x\n"),
    "controller away, exit code 0": (
        0,
        b"",
        b"slurm_load_jobs error: Socket timed out on send/recv operation\n",
    ),
    "no munge": (1, b"", b"Protocol authentication error\n"),
    "a forged line beside the job's own": b"3|1001|x\n" + ENDED + LINE,
    "a forged line that is not quite one": LINE + b"75|1001|x\n",
    "a line whose user cannot be read": b"75|x|1795529901|FAILED|n1|\n",
    "the job's number in loose text": b"3|1001|x\n-" + ENDED,
    "a task of the same array that fits nothing": ENDED.replace(b"75|", b"75_1;|"),
    "another cluster": b"CLUSTER: east\n" + ENDED,
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_ends_no_job(lie):
    # The accounting knows an end, too: it must not be asked after such a listing.
    runner = Runner(listing=LIES[lie], one=LIES[lie], sacct=ROW)
    try:
        status = (await scheduler(runner).status([JOB]))[JOB]
    except (errors.SchedulerUnavailable, errors.AuthenticationBroken):
        return
    assert status.state is JobState.UNKNOWN
    assert status.reason != ABSENT


OTHERS: dict[str, bytes] = {
    "nothing": b"",
    "somebody else's job under the same id": ENDED.replace(b"1001|1", b"1002|1", 1),
    "a job of hers under the same id, another name": ENDED.replace(b"901|", b"999|", 1),
    "an array with the same number": ENDED.replace(b"75|", b"75_1|", 1),
    "only other jobs": ENDED.replace(b"75|", b"751|", 1),
}


@pytest.mark.parametrize("listing", OTHERS)
async def test_a_listing_without_the_job_makes_it_absent_not_ended(listing):
    runner = Runner(listing=OTHERS[listing], named=b"")
    status = (await scheduler(runner).status([JOB]))[JOB]
    assert (status.state, status.reason) == (JobState.UNKNOWN, ABSENT)


SACCT_LIES: dict[str, Answer] = {
    "slurmdbd down": (1, b"", b"sacct: error: Connection refused\n"),
    "time-out": errors.SchedulerUnavailable("sacct did not answer within 30 s."),
    "an error and nothing": (0, b"", b"sacct: error: slurmdbd: x\n"),
    "HTML": b"<html>\n",
    "cut": ROW[:-1],
    "a header": b"JobID|UID\n" + ROW,
    "a state of another release": ROW.replace(b"COMPLETED", b"VANISHED"),
}


@pytest.mark.parametrize("lie", SACCT_LIES)
async def test_an_accounting_that_fails_leaves_the_job_unknown(lie):
    runner = Runner(listing=b"", sacct=SACCT_LIES[lie])
    status = (await scheduler(runner).status([JOB]))[JOB]
    assert (status.state, status.reason) == (JobState.UNKNOWN, "")


@pytest.mark.parametrize("row", GHOSTS)
async def test_ghosts_in_the_accounting_are_no_evidence(row):
    runner = Runner(listing=b"", sacct=GHOSTS[row])
    status = (await scheduler(runner).status([JOB]))[JOB]
    assert (status.state, status.reason) == (JobState.UNKNOWN, ABSENT)
