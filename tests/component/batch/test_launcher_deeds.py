"""The launcher allows deeds, not programs (H4): hostile arguments, sent to root.

Each request goes to the real program, started as root, with stand-ins in the place of
the batch system's commands that note how they were started. A refused request starts
none of them.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawners.batch.models import MOST_TASKS, BatchJob, JobSpec, Resources
from spawners.batch.runners import launcher
from spawners.batch.slurm import accounts, sacct, sbatch, squeue

PROGRAM = Path(launcher.__file__)
SCRIPT = base64.b64encode(b"#!/bin/sh\n").decode()
COMMANDS = sorted(launcher.DEEDS)
FILE = "/tmp/landbridge-written-by-root"
QUESTIONS = sorted(name for name, deed in launcher.DEEDS.items() if not deed.changes)

# What each program would do with a file, or with another program, in every spelling
# that getopt_long knows.
HOSTILE: dict[str, list[list[str]]] = {
    "unmunge": [
        ["--socket=/run/munge/munge.socket.2", f"--output={FILE}"],
        [f"--output={FILE}", "--metadata=/dev/null"],
        [f"--outp={FILE}"],
        ["--output", FILE],
        [f"-o{FILE}"],
        ["-o", FILE],
        [f"-no{FILE}"],
        [f"--metadata={FILE}"],
        ["-m", FILE],
        ["--input=/etc/shadow"],
        ["-i", "/etc/shadow"],
        ["--socket=/tmp/mine"],
        ["-S", "/tmp/mine"],
        ["--socket="],
        ["--keys=UID"],
    ],
    "scontrol": [
        ["show", "hostlist", "/etc/shadow"],
        ["show", "hostlistsorted", "/etc/shadow"],
        ["show", "hostnames", "/etc/shadow"],
        ["write", "config", FILE],
        ["write", "batch_script", "1", FILE],
        ["show", "config\nwrite config"],
        ["show config"],
        ["show", "config", "/x"],
        ["show", "job", "../x"],
        ["show", "step"],
        ["--oneliner", "--all", "update", "JobId=1", "Name=x"],
        ["--cluster=x", "show", "config"],
        ["-M", "show", "shutdown"],
        ["--", "shutdown"],
        ["--uid=0", "show", "config"],
        ["shutdown"],
        ["ping", "shutdown"],
        ["sho", "config"],
    ],
    "squeue": [
        ["-o", "%A"],
        ["--json"],
        ["--yaml"],
        ["--Format=@/etc/shadow"],
        ["--Format=JobArrayID:|/etc"],
        ["--user=/etc/shadow"],
        ["--jobs=/etc/shadow"],
        ["--sort=/x"],
        ["--stat=all"],
        ["--me"],
        ["--iterate=1"],
        ["-i1"],
        ["--noheader=x"],
        ["word"],
    ],
    "sinfo": [["-o", "%N"], ["--json"], ["--nodes=/etc/shadow"], ["--iterate=1"]],
    "sacct": [
        ["-f/etc/shadow"],
        ["-f", "/etc/shadow"],
        ["--file=/etc/shadow"],
        ["--fil=/etc/shadow"],
        ["--completion"],
        ["-c"],
        ["--batch-script"],
        ["--env-vars"],
        ["--jobs=1,/x"],
        ["--starttime=now-7days/x"],
        ["--format=JobID%/x"],
    ],
    "sacctmgr": [
        ["dump", "lab", f"file={FILE}"],
        ["load", f"file={FILE}"],
        ["show", "user", f"file={FILE}"],
        ["show", "archive"],
        ["archive", "dump"],
        ["-i", "add", "user", "x"],
        ["--immediate", "delete", "user"],
        ["show", "user", "name=/etc/shadow"],
        ["show", "user", "add", "user"],
        ["list", "user"],
        ["show", "problem"],
        ["-s", "show", "user"],
    ],
    "scancel": [
        [],
        ["--user=bob"],
        ["--me"],
        ["--batch", "1"],
        ["--signal=9", "1"],
        ["--ctld", "1"],
        ["1", "--user=bob"],
        ["-u", "bob"],
        ["all"],
        ["1 2"],
        ["1\n2"],
        ["7_[0-3]", "--user=bob"],
        ["7_[0-3]", "8_[]"],
        ["7_[0-3,]"],
        ["7_[-3]"],
        ["7_[0-3-5]"],
        ["7_[0-3%2]"],
        ["7_[0:3]"],
        ["7_[*]"],
        ["7_*"],
        ["7_[0-3"],
        ["_[0-3]"],
        ["[0-3]"],
        ["[7-9]_1"],
        ["7_[0-3].batch"],
        ["7_[0-3]8"],
        ["7_[0 3]"],
        ["7_[\u0663]"],
        ["7_[0-12345678]"],
    ],
    "sbatch": [
        ["/etc/shadow"],
        ["job.sh"],
        ["--", "/etc/shadow"],
        ["--wrap=id"],
        ["--uid=0"],
        ["--gid=0"],
        ["--export-file=/etc/shadow"],
        ["--bbf=/etc/shadow"],
        ["--error=/x"],
        ["--input=/etc/shadow"],
        ["--container=/x"],
        ["--get-user-env"],
        ["--wait"],
        ["-W"],
        [f"-o{FILE}"],
        ["-o", FILE],
        [f"--outp={FILE}"],
        ["--output", FILE],
        ["--output=relative"],
        ["--output=/a\nb"],
        ["--chdir=../x"],
        ["--nodelist=/etc/shadow"],
        ["--exclude=./nodes"],
        ["--mail-user=a\nb"],
        ["--job-name=a\x1bb"],
        ["--comment=a\nb"],
        ["--export=LD_PRELOAD=/x"],
        ["--export=ALL,PATH=/x"],
        ["--mem"],
        ["--parsable=x"],
        ["--constraint=\uff0fetc"],
        ["--array=0-1000"],
        ["--array=1-3"],
        ["--array=0-3%2"],
        ["--array=0-3:2"],
        ["--array=0,2"],
        ["--array=5"],
        ["--array"],
        ["-a0-3"],
        ["--arr=0-3"],
    ],
}
# The same for every command.
ANYWHERE = [
    ["--help"],
    ["--usage"],
    ["-V"],
    ["--"],
    ["-"],
    ["@/etc/shadow"],
    ["--conf=/x"],
    ["--config=/x"],
    ["--license"],
    ["--noheader", "/etc/shadow"],
    ["-\n"],
    ["\u2014output=x"],
    ["-" * 30_000],
    ["--x"] * 1999,
]
CASES = [(name, rest) for name in COMMANDS for rest in (*HOSTILE[name], *ANYWHERE)]


def request(argv: list[str], user: str | None, **more: Any) -> dict[str, Any]:
    reads = launcher.DEEDS[argv[0]].reads if argv[0] in launcher.DEEDS else False
    facts = {"version": 1, "operation": "run", "environment": {}, "timeout": 5}
    return {
        **facts,
        "stdin": SCRIPT if reads else "",
        "argv": argv,
        "user": user,
        **more,
    }


def launch(
    asked: dict[str, Any] | bytes, *options: str, **keywords: Any
) -> dict[str, Any]:
    raw = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    done = subprocess.run(
        ["/usr/bin/python3", "-I", PROGRAM, *options],
        input=raw,
        capture_output=True,
        timeout=30,
        check=False,
        **keywords,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def site(shared: Path) -> Path:
    """Settings whose commands note that they were started, and as whom."""
    (shared / "ran").mkdir()
    (shared / "ran").chmod(0o777)
    for name in COMMANDS:
        program = shared / name
        program.write_text(
            f'#!/bin/sh\nid -u; id -G; env; echo "$0" > {shared}/ran/{name}.$$\n'
        )
        program.chmod(0o755)
    file = shared / "launch.json"
    file.write_text(json.dumps({"path": [str(shared), "/usr/bin", "/bin"]}))
    file.chmod(0o644)
    return file


def started(site: Path) -> list[str]:
    return sorted(file.name for file in (site.parent / "ran").iterdir())


@pytest.mark.root
@pytest.mark.parametrize("name", COMMANDS)
def test_no_hostile_argument_starts_anything_as_root(
    site: Path, people: tuple[str, str], name: str
) -> None:
    for rest in (*HOSTILE[name], *ANYWHERE):
        for user in (None, "alice"):
            answer = launch(request([name, *rest], user), "--config", str(site))
            assert answer.get("error") in ("refused", "malformed"), (rest, answer)
            assert len(answer["message"]) < 300
    assert started(site) == []
    assert not Path(FILE).exists()


@pytest.mark.parametrize(("name", "rest"), CASES)
def test_the_shapes_refuse_it(name: str, rest: list[str]) -> None:
    with pytest.raises(launcher.Refused) as refusal:
        launcher.check_command([name, *rest], as_user=True)
    assert refusal.value.kind == "refused"


@pytest.mark.root
@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_is_asked_as_root(site: Path, name: str) -> None:
    words = {"scontrol": ["ping"], "sacctmgr": ["show", "qos"]}.get(name, [])
    answer = launch(request([name, *words], None), "--config", str(site))
    nobody = pwd.getpwnam("nobody")
    uid, groups, *variables = base64.b64decode(answer["stdout"]).decode().splitlines()
    assert (uid, groups) == (str(nobody.pw_uid), str(nobody.pw_gid))
    assert "USER=nobody" in variables
    for other in ("root", "no-such-account"):
        site.write_text(json.dumps({"path": [str(site.parent)], "questions_as": other}))
        answer = launch(request([name, *words], None), "--config", str(site))
        assert answer["error"] == "refused"
        assert "No question is asked as root" in answer["message"]
    assert len(started(site)) == 1


@pytest.mark.root
@pytest.mark.parametrize("name", ["LD_PRELOAD", "LANDBRIDGE_X", "SLURM_CONF", "TZ"])
def test_no_variable_of_whoever_started_it_is_inherited(
    site: Path, people: tuple[str, str], name: str
) -> None:
    odd = {name: "canary", "PATH": "/usr/bin:/bin"}
    asked = request(["squeue"], "alice")
    answer = launch(asked, "--config", str(site), env=odd)
    assert b"canary" not in base64.b64decode(answer["stdout"])


VARIABLES = {
    "SLURM_CONF": "/tmp/x",
    "SLURM_CONF_SERVER": "evil",
    "SLURM_TIME_FORMAT": "x",
    "SBATCH_OUTPUT": FILE,
    "SBATCH_EXPORT": "ALL",
    "SQUEUE_FORMAT": "%A",
    "SACCT_FORMAT": "x",
    "SCANCEL_USER": "bob",
    "LD_PRELOAD": "/tmp/x.so",
    "LD_LIBRARY_PATH": "/tmp",
    "MUNGE_SOCKET": "/tmp/x",
    "GCONV_PATH": "/tmp",
    "PYTHONPATH": "/tmp",
    "BASH_ENV": "/tmp/x",
    "TZ": ":/etc/shadow",
    "LANG": "../x",
    "LC_ALL": "/x",
    "NLSPATH": "/x",
    "HOME": "/tmp",
    "landbridge_x": "x",
}


@pytest.mark.root
@pytest.mark.parametrize("name", COMMANDS)
def test_no_hostile_variable_starts_anything(
    site: Path, people: tuple[str, str], name: str
) -> None:
    words = {"scontrol": ["ping"], "sacctmgr": ["show", "qos"], "scancel": ["1"]}
    argv = [name, *words.get(name, [])]
    for variable, value in VARIABLES.items():
        asked = request(argv, "alice", environment={variable: value})
        answer = launch(asked, "--config", str(site))
        assert answer["error"] == "refused", (variable, answer)
    if name != "sbatch":  # a job's own variables are nothing to a question
        asked = request(argv, "alice", environment={"LANDBRIDGE_JOB": "x"})
        assert launch(asked, "--config", str(site))["error"] == "refused"
    if not launcher.DEEDS[name].reads:
        asked = request(argv, "alice", stdin=SCRIPT)
        assert launch(asked, "--config", str(site))["error"] == "refused"
    assert started(site) == []


@pytest.mark.root
@pytest.mark.parametrize(
    "raw",
    [
        b'{"version": 1, "operation": "run", "user": null, "argv": ["squeue\\u0000"]}',
        b'\xff{"version": 1}',
        b'{"version": 1, "operation": "run", "user": null, "argv": [["squeue"]]}',
        json.dumps(request(["squeue", "\ud800"], None)).encode(),
        json.dumps(request(["squeue"] * 2001, None)).encode(),
        json.dumps(request(["squeue", "x" * 40_000], None)).encode(),
        b"[" * 500_000,
        b"A" * (launcher.MAX_REQUEST + 1),
    ],
    ids=["NUL", "no UTF-8", "nested", "surrogate", "long", "wide", "deep", "huge"],
)
def test_what_is_no_request_starts_nothing_as_root(site: Path, raw: bytes) -> None:
    assert launch(raw, "--config", str(site))["error"] == "malformed"
    assert started(site) == []


@pytest.mark.root
def test_a_script_is_one_and_files_are_read_as_a_user_only(
    site: Path, people: tuple[str, str], tmp_path: Path
) -> None:
    for text in (b"", b"id\n", b"\x7fELF", b" #!/bin/sh"):
        asked = request(["sbatch"], "alice", stdin=base64.b64encode(text).decode())
        assert launch(asked, "--config", str(site))["error"] == "refused"
    read = {"version": 1, "operation": "read", "path": "/etc/shadow", "max_bytes": 99}
    assert launch({**read, "user": None}, "--config", str(site))["error"] == "refused"
    answer = launch({**read, "user": "alice"}, "--config", str(site))
    assert answer["error"] == "denied"
    alice = pwd.getpwnam("alice")
    plain = {"user": alice.pw_uid, "group": alice.pw_gid, "extra_groups": []}
    answer = launch({**read, "user": None}, "--config", str(site), **plain)
    assert answer["error"] == "refused"
    assert started(site) == []


@pytest.mark.root
def test_behind_a_forced_command_it_acts_for_users_by_sudo_alone(
    site: Path, shared: Path, people: tuple[str, str]
) -> None:
    """Not even for its own account, whose files hold the key that restricts it."""
    program = shared / "landbridge-launch"
    sudo = shared / "as-sudo"
    sudo.write_text('#!/bin/sh\necho "sudo: $*" >&2; cat >&2; exit 1\n')
    sudo.chmod(0o755)
    program.write_text(PROGRAM.read_text().replace("/usr/bin/sudo", str(sudo)))
    program.chmod(0o755)
    bob = pwd.getpwnam("bob")
    plain = {"user": bob.pw_uid, "group": bob.pw_gid, "extra_groups": []}

    def forced(asked: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/usr/bin/python3", "-I", program, "--config", site, "--sudo"],
            input=json.dumps(asked),
            text=True,
            capture_output=True,
            check=False,
            **plain,
        )

    keys = "--output=/home/bob/.ssh/authorized_keys"
    own = json.loads(forced(request(["sbatch", keys], "bob")).stdout)
    assert own["error"] == "refused"
    assert "own account" in own["message"]
    root = json.loads(forced(request(["squeue"], "root")).stdout)
    assert root["error"] == "refused"
    question = json.loads(forced(request(["squeue"], None)).stdout)
    assert base64.b64decode(question["stdout"]).startswith(b"%d\n" % bob.pw_uid)
    asked = request(["sbatch", "--parsable"], "alice")
    handed = forced(asked).stderr
    assert handed.startswith(f"sudo: -n -u alice -- {program}\n")
    assert json.loads(handed.partition("\n")[2]) == asked
    assert started(site) == [name for name in started(site) if "squeue" in name]


def test_what_a_site_adds_is_let_through_and_no_more(tmp_path: Path) -> None:
    more = launcher.Settings(
        sbatch_options=frozenset({"--container"}), munge_socket="/opt/munge/s"
    )
    launcher.check_command(["sbatch", "--container=/x"], as_user=True, site=more)
    launcher.check_command(
        ["unmunge", "--socket=/opt/munge/s"], as_user=False, site=more
    )
    for argv in (
        ["sbatch", "--container-id=/x"],
        ["sbatch", "--container=a\nb"],
        ["unmunge", "--socket=/opt/munge/t"],
        ["unmunge", "--container=/x"],
    ):
        with pytest.raises(launcher.Refused):
            launcher.check_command(argv, as_user=True, site=more)


ALONE = BatchJob("13", "lb-c", "bob", cluster="east")
_WORD = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,20}", fullmatch=True)


@given(st.data())
def test_all_that_the_scheduler_asks_for_passes(data: st.DataObject) -> None:
    resources = Resources(
        cpus=data.draw(st.integers(1, 4096)),
        memory=data.draw(st.none() | st.integers(2**20, 2**50)),
        gpus=data.draw(st.integers(1, 64)),
        gpu_model=data.draw(st.none() | _WORD),
        partition=data.draw(st.none() | _WORD),
        account=data.draw(st.none() | _WORD),
        qos=data.draw(st.none() | _WORD),
        constraint=data.draw(st.sampled_from([None, "a100&ib", "[r1|r2]", "(a|b)*2"])),
    )
    spec = JobSpec(
        name="lb-x",
        script="#!/bin/sh\n",
        resources=resources,
        workdir="/home/al ice",
        output="/home/alice/\u00e4 %j.log",
        environment={"LANDBRIDGE_JOB": "x", "A": "b"},
        comment="Jupyter kernel: https://x/y",
        options=("--exclusive", "--licenses=a:1", "--exclusive=user", "--nice=10"),
    )
    for test_only in (True, False):
        argv = sbatch.sbatch_argv(spec, test_only=test_only)
        launcher.check_command(argv, as_user=True)
    argv = sbatch.sbatch_argv(spec, tasks=data.draw(st.integers(1, MOST_TASKS)))
    launcher.check_command(argv, as_user=True)
    numbers = data.draw(st.sets(st.integers(0, MOST_TASKS - 1), min_size=1))
    tasks = [BatchJob(f"12_{n}", f"lb-b-{n}", "bob", cluster="east") for n in numbers]
    launcher.check_command(sbatch.scancel_argv([*tasks, ALONE]), as_user=True)
    names = data.draw(st.lists(_WORD, min_size=1, max_size=4))
    for argv in (
        squeue.listing_argv(cluster="east"),
        squeue.named_argv(["lb-b", "lb-c"], cluster="east"),
        squeue.some_jobs_argv([*tasks, ALONE], cluster="east"),
        sacct.accounting_argv([*tasks, ALONE], cluster="east"),
        accounts.accounts_argv(names, "lab"),
    ):
        launcher.check_command(argv, as_user=False)


_BITS = st.sampled_from(
    [
        *("--", "-", "=", "/", "\n", "\0", "o", "output", "outp", "socket=", "show"),
        *("config", "hostlist", "job", "1", ",", "|", "@", "..", "x"),
    ]
)


@given(
    st.sampled_from(COMMANDS),
    st.lists(
        st.lists(_BITS, max_size=5).map("".join) | st.text(max_size=9), max_size=4
    ),
)
def test_what_passes_holds_no_slash_but_in_places_of_a_job(
    name: str, rest: list[str]
) -> None:
    try:
        launcher.check_command([name, *rest], as_user=True)
    except launcher.Refused:
        return
    for item in rest:
        places = ("--chdir=/", "--output=/", "--comment=", "--socket=/run/munge/")
        assert "/" not in item or item.startswith(places)
        assert "\n" not in item and "\0" not in item
        option = item.partition("=")[0]
        known = {*launcher.DEEDS[name].options, *launcher.DEEDS[name].flags, "--socket"}
        assert option in known or not item.startswith("-")


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("unmunge"), reason="needs munge")
def test_the_real_unmunge_and_scontrol_write_and_read_nothing_for_root() -> None:
    """The two attacks of H4, as they were made."""
    out = Path(FILE)
    for argv in (
        ["unmunge", f"--output={out}", "--metadata=/dev/null"],
        ["scontrol", "show", "hostlist", "/etc/shadow"],
    ):
        answer = launch(request(argv, None), env={"PATH": os.defpath})
        assert answer["error"] == "refused"
    assert not out.exists()
