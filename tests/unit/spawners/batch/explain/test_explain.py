from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawners.batch import errors
from spawners.batch.explain.reasons import explain_reason
from spawners.batch.explain.states import (
    explain_end,
    explain_refusal,
    explain_state,
    starts_by_itself,
)
from spawners.batch.explain.vocabulary import KERNEL, SERVER, Vocabulary
from spawners.batch.models import JobState, JobStatus, Resources
from spawners.common.text import LOG_LIMIT

NOW = datetime(2026, 11, 24, 14, 0).astimezone()
FOUR_GB = Resources(memory=4 * 1000**3, time_limit=timedelta(hours=2))


def pending(reason: str = "", **facts: object) -> JobStatus:
    return JobStatus(JobState.PENDING, reason=reason, **facts)


def failed(code: int | None = None, signal: int | None = None, reason="") -> JobStatus:
    return JobStatus(
        JobState.FAILED, exit_code=code, signal=signal, reason=reason, nodes=("n1",)
    )


def ends(status: JobStatus, log: str = "", *, asked: bool = False):
    return explain_end(status, FOUR_GB, log, asked=asked, vocabulary=SERVER)


# States


def test_a_place_in_line_and_an_estimate_are_told():
    status = pending(
        "Priority", queue_place=3, estimated_start=NOW + timedelta(minutes=20)
    )
    assert explain_state(status, FOUR_GB, now=NOW) == (
        "Waiting in the queue: number 3 in line, estimated start 14:20"
    )


def test_the_users_own_limit_is_named_with_its_number():
    status = pending("AssocMaxJobsLimit")
    assert explain_state(status, FOUR_GB, max_jobs=2) == (
        "Waiting: another job of yours must end first (limit of 2 running jobs)"
    )


# Every reason that was recorded on a real controller, Slurm 22.05.
RECORDED = {
    "None": "has not looked",
    "Priority": "higher priority",
    "Resources": "in use",
    "BeginTime": "set time",
    "Dependency": "another job",
    "DependencyNeverSatisfied": "failed",
    "JobHeldAdmin": "operator",
    "JobHeldUser": "on hold",
    "QOSMaxJobsPerUserLimit": "another job of yours",
    "AssocMaxJobsLimit": "another job of yours",
    "AssocGrpGRES": "all members of your account",
    "PartitionDown": "starts no jobs",
    "PartitionConfig": "cannot fulfil",
    "PartitionTimeLimit": "more than the partition allows",
    "ReqNodeNotAvail, UnavailableNodes:n3": "not available",
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher "
    "priority partitions": "down or reserved",
    "Job's account not permitted to use this partition (staff allows staff not proj)": (
        "staff allows staff not proj"
    ),
}


@pytest.mark.parametrize(("reason", "words"), RECORDED.items())
def test_recorded_reasons_have_words(reason, words):
    assert words in explain_state(pending(reason), FOUR_GB)


# squeue(1), section "JOB REASON CODES".
KNOWN = """
AccountNotAllowed AssocGrpBB AssocGrpBBMinutes AssocGrpBBRunMinutes AssocGrpBilling
AssocGrpBillingMinutes AssocGrpBillingRunMinutes AssocGrpCpuLimit
AssocGrpCPUMinutesLimit AssocGrpCPURunMinutesLimit AssocGrpGRES AssocGrpGRESMinutes
AssocGrpGRESRunMinutes AssocGrpJobsLimit AssocGrpLicense AssocGrpMemLimit
AssocGrpMemMinutes AssocGrpMemRunMinutes AssocGrpNodeLimit AssocGrpNodeMinutes
AssocGrpNodeRunMinutes AssocGrpSubmitJobsLimit AssocGrpWallLimit
AssociationJobLimit AssociationResourceLimit AssociationTimeLimit
AssocMaxCpuPerJobLimit AssocMaxCPUMinutesPerJobLimit AssocMaxGRESPerJob
AssocMaxGRESPerNode AssocMaxJobsLimit AssocMaxMemPerJob AssocMaxNodePerJobLimit
AssocMaxSubmitJobLimit AssocMaxWallDurationPerJobLimit BadConstraints
BurstBufferOperation BurstBufferResources BurstBufferStageIn Cleaning DeadLine
FedJobLock FrontEndDown InactiveLimit InvalidAccount InvalidQOS JobArrayTaskLimit
JobHoldMaxRequeue JobLaunchFailure Licenses NodeDown PartitionInactive
PartitionNodeLimit Prolog QOSGrpCpuLimit QOSGrpGRES QOSGrpMemLimit QOSGrpNodeLimit
QOSGrpJobsLimit QOSGrpWallLimit QOSJobLimit QOSMaxCpuPerJobLimit QOSMaxCpuPerUserLimit
QOSMaxGRESPerJob QOSMaxGRESPerUser QOSMaxJobsPerAccountLimit QOSMaxMemoryPerUser
QOSMaxNodePerUserLimit QOSMaxSubmitJobPerUserLimit QOSMaxWallDurationPerJobLimit
QOSMinCpuNotSatisfied QOSMinGRES QOSNotAllowed QOSResourceLimit QOSTimeLimit
QOSUsageThreshold ReqNodeNotAvail Reservation ReservationDeleted ResourceLimit
SchedDefer SystemFailure
""".split()  # noqa: SIM905


@pytest.mark.parametrize("reason", KNOWN)
def test_every_documented_reason_has_words_of_ours(reason):
    words = explain_state(pending(reason), FOUR_GB)
    assert "the scheduler says" not in words
    assert reason not in words


@pytest.mark.parametrize(
    "reason",
    ["PartitionTimeLimit", "PartitionConfig", "DependencyNeverSatisfied", "QOSMinGRES",
     "AssocMaxWallDurationPerJobLimit", "QOSMaxGRESPerJob"],
)  # fmt: skip
def test_a_hopeless_reason_is_told_as_such(reason):
    assert explain_state(pending(reason), FOUR_GB).startswith("Will not start: ")
    assert not starts_by_itself(pending(reason))
    assert explain_reason(reason).hint


def test_waiting_for_ones_turn_is_not_hopeless():
    assert starts_by_itself(pending("Priority"))
    assert starts_by_itself(JobStatus(JobState.RUNNING))


def test_an_unknown_reason_is_shown_but_short_and_printable():
    words = explain_state(pending("Brand\x1b[31mNew\n\u202e" + "x" * 5000), FOUR_GB)
    assert words.startswith("Waiting: the scheduler says “BrandNew xxx")
    assert len(words) < 300
    assert words.isprintable()


@pytest.mark.parametrize("state", JobState)
def test_every_state_has_words(state):
    assert explain_state(JobStatus(state), FOUR_GB)


def test_running_tells_where_and_until_when():
    status = JobStatus(
        JobState.RUNNING, nodes=("n1",), ends=NOW + timedelta(hours=2)
    )  # fmt: skip
    assert explain_state(status, FOUR_GB, now=NOW) == "Running on n1 until 16:00"


# Ends


def test_out_of_memory_tells_what_was_asked_and_the_double():
    failure = ends(JobStatus(JobState.OUT_OF_MEMORY, reason="OutOfMemory"))
    assert failure.title == "Out of memory"
    assert "4 GB asked" in failure.detail
    assert "try 8 GB" in failure.hint


@pytest.mark.parametrize(
    ("status", "log"),
    [
        (
            failed(signal=9, reason="JobLaunchFailure"),
            "slurmstepd: error: Job 62 exceeded memory limit (619196 > 10240), "
            "being killed",
        ),
        (failed(137), ""),
        (failed(1), "slurmstepd: error: Detected 1 oom_kill event in StepId=4.batch."),
    ],
)
def test_out_of_memory_is_recognised_by_its_traces(status, log):
    assert ends(status, log).title == "Out of memory"


def test_a_bare_kill_is_only_suspected_to_be_memory():
    failure = ends(failed(signal=9, reason="JobLaunchFailure"))
    assert failure.title == "Killed"
    assert "may mean too much memory (4 GB asked)" in failure.detail
    assert "8 GB" in failure.hint


def test_out_of_memory_is_told_even_if_a_stop_was_asked():
    assert ends(JobStatus(JobState.OUT_OF_MEMORY), asked=True).title == "Out of memory"


@pytest.mark.parametrize(
    ("status", "log", "title", "hint"),
    [
        (JobStatus(JobState.TIMEOUT), "", "Time limit reached", "try 4 h"),
        (JobStatus(JobState.NODE_FAIL), "", "The node failed", "Start again"),
        (JobStatus(JobState.PREEMPTED), "", "Preempted", "not preempted"),
        (JobStatus(JobState.DEADLINE), "", "Deadline missed", "less time"),
        (JobStatus(JobState.LOST), "", "Lost by the scheduler", "Start again"),
        (JobStatus(JobState.CANCELLED, nodes=("n1",)), "", "Cancelled", "operators"),
        (JobStatus(JobState.CANCELLED), "", "Cancelled in the queue", "operators"),
        (
            JobStatus(JobState.CANCELLED, reason="PartitionTimeLimit"),
            "",
            "Never started",
            "less time",
        ),
        (
            failed(127),
            "/var/spool/slurm_script: line 7: jupyterhub-singleuser: command not found",
            "Command not found",
            "Is JupyterLab installed",
        ),
        (
            failed(1),
            "/usr/bin/python3: No module named jupyterlab",
            "A Python package is missing",
            "Is JupyterLab installed",
        ),
        (
            failed(1),
            "OSError: [Errno 28] No space left on device: '/home/alice/.local'",
            "No space left",
            "Delete",
        ),
        (failed(1), "cp: writing: Disk quota exceeded", "No space left", "Delete"),
        (
            failed(1),
            "PermissionError: [Errno 13] Permission denied: '/data/alice'",
            "Permission denied",
            "own the folder",
        ),
        (
            JobStatus(JobState.LAUNCH_FAILED, reason="workdir: Permission denied"),
            "",
            "Permission denied",
            "own the folder",
        ),
        (
            failed(1),
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] odd",
            "The node cannot reach the gateway",
            "operators",
        ),
        (
            failed(1),
            "Landbridge: The hub at 10.0.0.1:8001 cannot be reached from this node, so "
            "this job ends. Last answer: timed out",
            "The node cannot reach the gateway",
            "which node",
        ),
        (
            failed(1),
            "Landbridge: This node cannot prove who you are: munge: no socket.",
            "The node cannot prove who you are",
            "munge",
        ),
        (
            failed(1),
            "Landbridge: The hub refused this job: It is of an older start.",
            "The gateway refused the job",
            "Start again",
        ),
        (
            failed(127),
            "Landbridge: There is no Python at /opt/x/bin/python on this node.",
            "Command not found",
            "Is JupyterLab installed",
        ),
        (failed(3), "boom", "The server failed (exit code 3)", "last lines"),
        (failed(signal=11), "", "The server crashed", "last lines"),
        (JobStatus(JobState.COMPLETED, exit_code=0), "", "The server ended", "again"),
        (
            JobStatus(
                JobState.LAUNCH_FAILED, reason="workdir: No such file or directory"
            ),
            "",
            "The job could not be started",
            "yours",
        ),
        (failed(signal=9, reason="SupervisorLost"), "", "Killed", "again"),
        (JobStatus(JobState.LAUNCH_FAILED), "", "The job could not be started", "tell"),
        (failed(), "", "The job failed", "last lines"),
    ],
)
def test_an_end_is_told_with_the_next_step(status, log, title, hint):
    failure = ends(status, log)
    assert failure.title == title
    assert hint in failure.hint
    assert failure.log == log


def test_a_permission_problem_names_the_path():
    failure = ends(failed(1), "bash: /data/x: Permission denied")
    assert "/data/x" in failure.detail


def test_the_agents_own_words_are_the_detail():
    words = "There is no Python at /opt/x/bin/python on this node."
    assert ends(failed(127), f"Landbridge: {words}\n").detail == words


def test_a_warning_long_ago_is_not_taken_for_the_reason():
    log = "No module named 'nbclassic'\n" + "GET /lab 200\n" * 20
    assert ends(failed(3), log).title == "The server failed (exit code 3)"


def test_an_end_that_was_asked_for_is_no_failure():
    status = JobStatus(JobState.CANCELLED, nodes=("n1",))
    assert ends(status, asked=True).title == "Stopped"


@pytest.mark.parametrize("state", [s for s in JobState if s.ended])
def test_every_end_has_title_detail_and_hint(state):
    for asked in (False, True):
        failure = explain_end(JobStatus(state), Resources(), "", asked=asked)
        assert failure.title
        assert failure.detail
        assert failure.hint


# Refusals


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (errors.InvalidSpec("cpus", "must be a number."), "Not a valid request"),
        (errors.SubmitRejected("No such partition."), "Refused by the scheduler"),
        (errors.LimitReached("5 jobs at most."), "A limit is reached"),
        (errors.SchedulerUnavailable("Timed out."), "The scheduler does not answer"),
        (errors.SubmitUncertain("Timed out."), "The scheduler's answer was lost"),
        (errors.AuthenticationBroken("munge"), "The scheduler does not accept the "
         "gateway"),
        (errors.NotPermitted("sudo"), "Not permitted"),
        (errors.BatchError("odd"), "Could not be submitted"),
    ],
)  # fmt: skip
def test_every_refusal_has_a_title_and_a_next_step(error, title):
    failure = explain_refusal(error)
    assert failure.title == title
    assert failure.detail == error.message
    assert failure.hint


def test_the_errors_own_hint_comes_first():
    error = errors.SubmitRejected("Too long.", hint="Ask for at most 1 h.")
    assert explain_refusal(error).hint == "Ask for at most 1 h."


@given(st.sampled_from(JobState), st.text(), st.text(), st.booleans())
def test_nothing_that_is_read_makes_the_words_fail(state, reason, log, asked):
    status = JobStatus(state, reason=reason, exit_code=1)
    assert explain_state(status, FOUR_GB)
    failure = explain_end(status, FOUR_GB, log, asked=asked)
    assert failure.title
    assert len(failure.log.encode()) <= LOG_LIMIT


# Words of other kinds of jobs

WORKER = Vocabulary("worker", "Dask (distributed)")
MISSING = [
    (failed(127), "x: distributed: command not found\n"),
    (failed(1), "ModuleNotFoundError: No module named 'distributed'\n"),
]


@pytest.mark.parametrize("state", [state for state in JobState if state.ended])
@pytest.mark.parametrize("vocabulary", [WORKER, KERNEL, Vocabulary()])
def test_no_other_job_is_told_of_a_server_or_of_jupyterlab(state, vocabulary):
    logs = ["", "No space left on device\n", "Killed\n", MISSING[0][1], MISSING[1][1]]
    for code in (None, 0, 1, 126, 127, 137):
        for log in logs:
            status = JobStatus(state, exit_code=code, nodes=("n1",))
            told = explain_end(status, FOUR_GB, log, asked=False, vocabulary=vocabulary)
            words = " ".join((told.title, told.detail, told.hint))
            assert "JupyterLab" not in words
            assert "server" not in words


@pytest.mark.parametrize(("status", "log"), MISSING)
def test_what_is_missing_is_called_by_its_name(status, log):
    def hint(vocabulary):
        end = explain_end(status, FOUR_GB, log, asked=False, vocabulary=vocabulary)
        return end.hint

    assert hint(WORKER).startswith("Is Dask (distributed) installed")
    assert hint(SERVER).startswith("Is JupyterLab installed")
    assert hint(Vocabulary()).startswith("Is all that it needs installed")


def test_an_end_is_told_with_its_subject():
    end = explain_end(failed(3), FOUR_GB, "", asked=False, vocabulary=WORKER)
    assert end.title == "The worker failed (exit code 3)"
