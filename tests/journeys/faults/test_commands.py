"""Slurm's commands fail, hang and lie; the servers stay, and nothing is doubled."""

from __future__ import annotations

import pytest

from rigs.faults.site import FaultSite

pytestmark = [pytest.mark.slurm, pytest.mark.root]

TIMED_OUT = "Socket timed out on send/recv operation"

# What squeue says on one call; between two lies it tells the truth. REAL is squeue.
LIES = {
    "nothing": "exit 0",
    "nothing, exit code 1": "exit 1",
    "nothing, killed": "kill -9 $$",
    "an error, exit code 0": f"echo 'slurm_load_jobs error: {TIMED_OUT}' >&2; exit 0",
    "an unknown error": "echo 'squeue: error: something new' >&2; exit 1",
    "no munge": "echo 'error: Protocol authentication error' >&2; exit 1",
    "all ended, exit code 1": 'REAL "$@" | sed "s/RUNNING/CANCELLED/"; exit 1',
    "cut in the middle": 'REAL "$@" | head -c 20; exit 0',
    "cut by a byte": 'REAL "$@" | head -c -1; exit 0',
    "another user's rows": 'REAL "$@" | sed "s/|1001|/|1002|/"; exit 0',
    "another time": 'REAL "$@" | sed "s/|17[0-9]*|/|1700000000|/"; exit 0',
    "HTML": "echo '<html><body>502 Bad Gateway</body></html>'; exit 0",
    "JSON": "echo '{\"jobs\": []}'; exit 0",
    "no UTF-8": "printf '\\377\\376|\\200\\n'; exit 0",
    "NUL bytes": "head -c 4096 /dev/zero; exit 0",
    "50 MB": "head -c 50000000 /dev/zero | tr '\\0' x; exit 0",
    "a banner first": 'echo Welcome; REAL "$@" | sed s/RUNNING/FAILED/; exit 0',
    "a new state": 'REAL "$@" | sed s/RUNNING/VANISHED/; exit 0',
    "a field less": 'REAL "$@" | sed "s/RUNNING|//"; exit 0',
    "the job twice": 'REAL "$@"; REAL "$@" | sed s/RUNNING/COMPLETED/; exit 0',
    "usage": "echo 'Usage: squeue [-A account]' >&2; exit 1",
    "no such program": "exit 127",
}


# One of each kind; what a reading makes of any of them is told by the unit tests.
OF_EACH_KIND = (
    "nothing",
    "no munge",
    "all ended, exit code 1",
    "cut in the middle",
    "a banner first",
    "no such program",
)


@pytest.mark.parametrize(
    "lies",
    [OF_EACH_KIND, pytest.param(tuple(LIES), marks=pytest.mark.long)],
    ids=["of each kind", "all"],
)
def test_no_lie_of_squeue_ends_a_server(site: FaultSite, lies: tuple[str, ...]) -> None:
    job = site.ready("alice")["job"]["id"]
    start = site.tools.calls("squeue")
    cases = "".join(
        f"{2 * n}) {shell.replace('REAL', '/usr/bin/squeue')} ;;\n"
        for n, shell in enumerate(LIES[name] for name in lies)
    )
    calls = site.tools.directory / "calls" / "squeue"
    script = f"n=$(( $(wc -l < {calls}) - {start + 1} ))\ncase $n in\n{cases}esac"
    with site.tools.do("squeue", script):
        site.wait_for(
            "every lie was told",
            lambda: site.tools.calls("squeue") > start + 2 * len(lies),
            seconds=150,
        )
        server = site.hub.server("alice")
        assert (server["state"], server["job"]["id"]) == ("ready", job)
    assert site.hub.answers("alice")
    assert site.slurm.state(job) == "RUNNING"
    assert site.names("server:alice/") == sorted(site.live_records())


def test_an_empty_queue_for_long_ends_no_server_that_answers(
    site: FaultSite,
) -> None:
    job = site.ready("alice")["job"]["id"]
    start = site.tools.calls("squeue")
    with site.tools.do("squeue", "exit 0"):
        site.wait_for(
            "it was asked twenty times", lambda: site.tools.calls("squeue") > start + 20
        )
        assert site.hub.server("alice")["state"] == "ready"
        assert site.hub.answers("alice")
    assert site.slurm.state(job) == "RUNNING"


def test_a_squeue_that_never_ends_holds_up_nothing_else(site: FaultSite) -> None:
    site.ready("alice")
    seen = site.tools.calls("squeue")
    with site.tools.do("squeue", "while :; do echo x; sleep 1; done"):
        site.wait_for("it hangs", lambda: site.tools.calls("squeue") > seen)
        # A start needs no squeue: the job reports by itself.
        site.start("bob")
        site.wait_for(
            "the reading is given up",
            lambda: not site.hub.server("alice")["job"]["is_current"],
        )
        assert site.hub.answers("alice")
    site.wait_ready("bob")
    site.wait_for(
        "it is believed again", lambda: site.hub.server("alice")["job"]["is_current"]
    )


def test_a_submission_whose_answer_is_lost_makes_one_server(site: FaultSite) -> None:
    lost = f'/usr/bin/sbatch "$@" > /dev/null; echo "{TIMED_OUT}" >&2; exit 1'
    with site.tools.do("sbatch", f'lost() {{ {lost}; }}; lost "$@"'):
        site.start("alice")
        site.wait_ready("alice")
    site.wait_for("it answers", lambda: site.hub.answers("alice"))
    assert site.live_jobs() == site.names("server:alice/")


def test_a_submission_that_hangs_after_it_worked_makes_one_server(
    site: FaultSite,
) -> None:
    with site.tools.do("sbatch", '/usr/bin/sbatch "$@" > /dev/null; exec sleep 600'):
        site.start("alice")
        site.wait_ready("alice")
    assert site.live_jobs() == site.names("server:alice/")


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(
            "echo 'Kill job error on job id 1: Access/permission denied' >&2; exit 210",
            marks=pytest.mark.long,
            id="refused",
        ),
        pytest.param("exit 0", id="says yes and does nothing"),
        pytest.param("exec sleep 600", marks=pytest.mark.long, id="hangs"),
    ],
)
def test_a_stop_that_scancel_does_not_do_stays_wanted(
    site: FaultSite, shell: str
) -> None:
    job = site.ready("alice")["job"]["id"]
    seen = site.tools.calls("scancel")
    # The agent ends the job by itself where it can be told so: stop that as well.
    with site.tools.do("scancel", shell):
        site.hub.stop_server("alice")
        site.wait_for("it was asked", lambda: site.tools.calls("scancel") > seen)
        server = site.hub.server("alice")
        assert server["cancel_wanted"]
        if site.slurm.state(job) == "RUNNING":
            assert server["state"] == "stopping"
    site.wait_for("the job has gone", lambda: not site.live_jobs("alice"))
    site.hub.wait_state("alice", "stopped", seconds=80)


def test_a_wish_outlives_the_hub(site: FaultSite) -> None:
    site.ready("alice")
    seen = site.tools.calls("scancel")
    with site.tools.do("scancel", "exit 0"):
        site.hub.stop_server("alice")
        site.wait_for("it was asked", lambda: site.tools.calls("scancel") > seen)
        site.hub.kill()
    site.hub.start()
    site.wait_for("the job has gone", lambda: not site.live_jobs("alice"))
    site.hub.wait_state("alice", "stopped")
