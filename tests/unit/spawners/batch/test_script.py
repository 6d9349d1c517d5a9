"""Job scripts, run by a real shell."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spawners.batch.errors import InvalidSpec
from spawners.batch.script import render_job_script

HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "a'b\"c",
    "x; touch pwned",
    "x\n#SBATCH --uid=root\ntouch pwned",
    "{{ 7*7 }}",
    "{% include 'x' %}",
    "--version",
    "",
    "é 日本 \u202e",
    "\\",
    "!history",
    "*",
]
SHOW = [sys.executable, "-c", "import sys; print(sys.argv[1:])"]


def run(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash"], input=script, capture_output=True, text=True, cwd=cwd, timeout=30
    )


@pytest.mark.parametrize("epilogue", [(), ("echo end",)])
def test_arguments_are_never_more_than_words(tmp_path, epilogue):
    done = run(render_job_script([*SHOW, *HOSTILE], epilogue=epilogue), tmp_path)
    assert done.stdout.splitlines()[0] == str(HOSTILE)
    assert list(tmp_path.iterdir()) == []


def test_no_directive_can_be_smuggled_before_the_command():
    script = render_job_script(["x\n#SBATCH --uid=root"])
    before = script.partition("exec ")[0]
    assert "#SBATCH" not in before


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
@settings(max_examples=15, deadline=None)
def test_any_text_arrives_as_it_is(arguments):
    script = render_job_script(["/usr/bin/printf", "%s\\0", *arguments])
    done = subprocess.run(
        ["bash"], input=script.encode(), capture_output=True, timeout=30
    )
    assert done.stdout.decode().split("\0")[:-1] == (arguments or [""])


@pytest.mark.parametrize("epilogue", [(), ("echo end",)])
@pytest.mark.parametrize("code", [0, 7])
def test_the_scripts_exit_code_is_the_commands(tmp_path, epilogue, code):
    done = run(
        render_job_script(["sh", "-c", f"exit {code}"], epilogue=epilogue), tmp_path
    )
    assert done.returncode == code
    assert done.stdout == ("end\n" if epilogue else "")


def test_the_operators_lines_run_around_the_command(tmp_path):
    script = render_job_script(
        ["sh", "-c", "echo $SITE"],
        prologue=["export SITE='a b'", "echo before"],
        epilogue=["echo after $status"],
    )
    assert run(script, tmp_path).stdout == "before\na b\nafter 0\n"


_CHILD = """\
import signal, sys, time
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
signal.signal(signal.SIGUSR1, lambda *_: print("usr1", flush=True))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
print("up", flush=True)
while True:
    time.sleep(0.05)
"""


@contextlib.contextmanager
def ending(shell: subprocess.Popen[str]) -> Iterator[None]:
    """End a shell and its command, whatever the test found."""
    try:
        yield
    finally:
        shell.terminate()


@pytest.mark.parametrize("epilogue", [(), ("echo end",)])
def test_signals_reach_the_command_and_interrupts_are_not_ignored(tmp_path, epilogue):
    path = tmp_path / "job.sh"
    path.write_text(
        render_job_script([sys.executable, "-c", _CHILD], epilogue=epilogue)
    )
    with (
        subprocess.Popen(
            ["bash", path],
            stdout=subprocess.PIPE,
            text=True,
            # Whoever runs the tests may ignore it, and so would all below.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as shell,
        ending(shell),
    ):
        assert shell.stdout is not None
        assert shell.stdout.readline() == "True\n"
        assert shell.stdout.readline() == "up\n"
        shell.send_signal(signal.SIGUSR1)
        assert shell.stdout.readline() == "usr1\n"
        shell.send_signal(signal.SIGTERM)
        assert shell.wait(10) == 9
        assert shell.stdout.read() == ("end\n" if epilogue else "")


def test_standard_input_is_empty(tmp_path):
    cat = shutil.which("cat") or "cat"
    assert run(render_job_script([cat]) + "echo not input\n", tmp_path).stdout == ""


@pytest.mark.parametrize(
    ("command", "fields", "name"),
    [
        ([], {}, "command"),
        (["a\0b"], {}, "command"),
        (["a"], {"interpreter": "bash"}, "interpreter"),
        (["a"], {"interpreter": "/bin/sh\nrm"}, "interpreter"),
        (["a"], {"prologue": ["x\0"]}, "prologue"),
    ],
)
def test_malformed_requests_are_refused(command, fields, name):
    with pytest.raises(InvalidSpec) as refusal:
        render_job_script(command, **fields)
    assert refusal.value.field == name


def test_a_login_shell_on_request():
    script = render_job_script(["a"], interpreter="/bin/bash -l")
    assert script.startswith("#!/bin/bash -l\n")
