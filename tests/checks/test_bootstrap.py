"""What ``make up`` does before the gateway: pythons, environments, clear words."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.checkout import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "bootstrap.py"


def load_script(name: str):
    path = CHECKOUT / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"landbridge_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bootstrap():
    return load_script("bootstrap")


@pytest.fixture
def pythons():
    return load_script("pythons")


@pytest.fixture
def check():
    return load_script("check")


def fake_python(path: Path, version: str) -> Path:
    """A program that answers the probe as a Python of ``version`` would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = version.replace(".", ", ")
    path.write_text(
        "#!/bin/sh\n"
        f'echo \'{{"version": [{numbers}], "prefix": "/usr", "executable": "{path}",'
        ' "venv": true, "pip": true}\'\n'
    )
    path.chmod(0o755)
    return path


def test_a_python_is_probed(pythons):
    facts = pythons.probe(sys.executable)
    assert tuple(facts["version"]) == sys.version_info[:3]
    assert pythons.probe("/nowhere/python3") is None
    assert pythons.probe("/bin/false") is None


def test_only_old_pythons_are_one_clear_failure(pythons, tmp_path, monkeypatch):
    old = fake_python(tmp_path / "python3", "3.9.2")
    monkeypatch.setattr(pythons, "candidates", lambda: iter([old]))
    with pytest.raises(pythons.Failure, match=r"3\.11 or newer.*3\.9\.2"):
        pythons.choose_python(shared=False)


def test_a_newer_python_on_the_path_is_found(pythons, tmp_path, monkeypatch):
    old = fake_python(tmp_path / "python3", "3.9.2")
    new = fake_python(tmp_path / "python3.12", "3.12.1")
    monkeypatch.setattr(pythons, "candidates", lambda: iter([old, new]))
    assert pythons.choose_python(shared=False)["executable"] == str(new)


def test_root_prefers_a_python_that_others_can_run(pythons, tmp_path, monkeypatch):
    tmp_path.chmod(0o755)
    (tmp_path / "private").mkdir(mode=0o700)
    private = fake_python(tmp_path / "private" / "python3", "3.12.1")
    monkeypatch.setattr(pythons, "candidates", lambda: iter([private]))
    assert not pythons.open_to_others(private)
    assert pythons.choose_python(shared=False)["executable"] == str(private)
    open_one = Path("/usr/bin/python3")
    if pythons.probe(open_one)["version"] >= [3, 11]:
        monkeypatch.setattr(pythons, "candidates", lambda: iter([private, open_one]))
        assert pythons.choose_python(shared=True)["executable"] != str(private)


def read_as_old(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 6))
    assert "from __future__ import annotations" not in path.read_text()


def test_the_script_is_readable_by_old_pythons():
    """No syntax later than 3.6, so that an old python can say that it is too old."""
    for name in ("bootstrap.py", "check.py", "pythons.py", "wheels.py"):
        read_as_old(SCRIPT.parent / name)
    read_as_old(CHECKOUT / "spawners" / "common" / "ownership.py")


def test_an_environment_is_current_until_its_lock_changes(bootstrap, tmp_path):
    python = {"version": [3, 11, 2], "executable": "/usr/bin/python3"}
    assert not bootstrap.is_ready("hub", tmp_path, python)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / ".stamp").write_text(bootstrap.fingerprint("hub", python))
    assert bootstrap.is_ready("hub", tmp_path, python)
    assert not bootstrap.is_ready("hub", tmp_path, {**python, "version": [3, 12, 0]})


def test_current_environments_cost_nothing(bootstrap, tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, "is_ready", lambda *_: True)
    monkeypatch.setattr(bootstrap, "install", lambda *_: pytest.fail("installed"))
    bootstrap.ensure(("hub", "server"), tmp_path, {})


def test_a_full_disk_is_said_before_anything_is_installed(
    bootstrap, tmp_path, monkeypatch
):
    usage = type("Usage", (), {"free": 5 * 1024**2})
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda _: usage)
    python = {"version": [3, 11, 2], "executable": sys.executable}
    with pytest.raises(bootstrap.Failure, match=r"disk is full.*LANDBRIDGE_STATE"):
        bootstrap.ensure(("hub",), tmp_path, python)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("Max retries exceeded with url", "package index does not answer"),
        ("ERROR: No matching distribution found for x", "package index"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: something else went wrong", "something else went wrong"),
    ],
)
def test_pips_failure_is_one_line_with_its_cause(bootstrap, tmp_path, output, words):
    log = tmp_path / "hub.log"
    log.write_text(f"much\nbefore\n{output}\n")
    line = bootstrap.explain(subprocess.CalledProcessError(1, "pip"), log)
    assert words in line
    assert str(log) in line
    assert "\n" not in line


def test_a_missing_index_is_one_clear_line_and_no_traceback(short_tmp):
    short_tmp.chmod(0o755)  # or root's environments would go elsewhere
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "install"],
        env={
            **os.environ,
            "LANDBRIDGE_STATE": str(short_tmp / "var"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "PIP_RETRIES": "0",
            "PIP_NO_CACHE_DIR": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "package index does not answer" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_roots_environments_lie_where_jobs_can_read_them(
    bootstrap, tmp_path, monkeypatch
):
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    assert bootstrap.place_of_environments(tmp_path / "var") == tmp_path / "var/env"
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 0)
    monkeypatch.setattr(bootstrap, "open_to_others", lambda _: True)
    assert bootstrap.place_of_environments(tmp_path / "var") == tmp_path / "var/env"


@pytest.mark.root
def test_a_checkout_that_others_cannot_enter_gets_a_shared_place(bootstrap, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: only its jobs run as other accounts")
    tmp_path.chmod(0o700)
    place = bootstrap.environments_directory(tmp_path / "var")
    try:
        assert str(place).startswith("/var/tmp/landbridge-")
        assert bootstrap.open_to_others(place.parent)
        os.chown(place.parent, 12345, 12345)
        with pytest.raises(
            bootstrap.Failure, match="belongs to the uid 12345 and not to root"
        ):
            bootstrap.environments_directory(tmp_path / "var")
    finally:
        place.parent.rmdir()


def test_an_unknown_task_tells_the_known_ones():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "fly"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "up | install" in done.stdout


def test_skipped_tests_are_listed_with_their_reason(check, tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite><testcase classname='tests.a' name='one'/>"
        "<testcase classname='tests.a' name='two'>"
        "<skipped type='pytest.skip' message='needs root'/></testcase>"
        "<testcase classname='tests.a' name='three'>"
        "<skipped type='pytest.xfail' message='known'/></testcase>"
        "</testsuite></testsuites>"
    )
    assert check.skipped_in(report) == ["tests.a.two: needs root"]
    assert check.skipped_in(tmp_path / "none.xml") == []


def test_the_bill_names_folders_and_the_slowest_tests(
    check, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "_SLOWEST", 1)
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite>"
        "<testcase classname='tests.hub.test_a' name='one' time='1.5'/>"
        "<testcase classname='tests.hub.test_b' name='two' time='2.0'/>"
        "<testcase classname='tests.slurm.test_c' name='three' time='3.0'/>"
        "</testsuite></testsuites>"
    )
    check.show_bill(report)
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert words[1:3] == [
        ["3.5", "s", "2", "tests", "hub"],
        ["3.0", "s", "1", "tests", "slurm"],
    ]
    assert words[-1] == ["3.0", "s", "slurm.test_c::three"]


@pytest.mark.parametrize(("strict", "code"), [(True, 1), (False, 0)])
def test_strict_makes_a_skip_a_failure(check, monkeypatch, capsys, strict, code):
    monkeypatch.setattr(check, "run_checks", lambda _: [])
    closing = "== 9 passed, 1 skipped in 1.00s =="
    monkeypatch.setattr(
        check, "run_tests", lambda *_: (0, closing, ["tests.a.two: needs root"])
    )
    assert bool(check.main(["--strict"] if strict else [])) == bool(code)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == closing
    assert any("needs root" in line for line in printed)


def test_a_failed_check_fails_the_run_though_tests_pass(check, monkeypatch):
    monkeypatch.setattr(check, "run_checks", lambda _: ["types"])
    monkeypatch.setattr(check, "run_tests", lambda *_: (0, "== 9 passed ==", []))
    assert check.main([])


@pytest.mark.parametrize(("second", "code"), [(0, 0), (1, 1)])
def test_failed_tests_are_tried_again_alone_and_named(
    check, monkeypatch, tmp_path, capsys, second, code
):
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "REPORTS", tmp_path)
    runs = iter([(1, "== 1 failed ==", []), (second, "== the end ==", [])])
    asked = []
    monkeypatch.setattr(check, "run_checks", lambda _: [])
    monkeypatch.setattr(check, "failed_before", lambda: ["tests/a.py::test_two"])
    monkeypatch.setattr(
        check,
        "run_tests",
        lambda arguments, *_: (asked.append(arguments), next(runs))[1],
    )
    assert bool(check.main(["--strict"])) == bool(code)
    first, again = asked
    assert "--dist=loadfile" in first
    assert again == ["--last-failed"]
    assert ("tests/a.py::test_two" in capsys.readouterr().out) == (code == 0)
    assert (tmp_path / "sightings.txt").exists() == (code == 0)


@pytest.mark.parametrize("long", [True, False])
def test_the_long_group_runs_only_when_it_is_asked_for(
    check, monkeypatch, tmp_path, long
):
    runs = iter([(1, "== 1 failed ==", []), (0, "== 1 passed ==", [])])
    asked = []
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "REPORTS", tmp_path)
    monkeypatch.setattr(check, "run_checks", lambda _: [])
    monkeypatch.setattr(check, "failed_before", lambda: ["tests/a.py::test_two"])
    monkeypatch.setattr(
        check,
        "run_tests",
        lambda arguments, *_: (asked.append(arguments), next(runs))[1],
    )
    assert not check.main(["--long"] if long else [])
    for arguments in asked:
        assert ("long" in arguments) == long
        assert "--long" not in arguments
    assert len(asked) == 2


def test_the_third_accident_of_one_test_fails_the_run(
    check, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "REPORTS", tmp_path / "var" / "tests")
    monkeypatch.setattr(check, "run_tests", lambda *_: (0, "== 1 passed ==", []))
    often, once = "tests/a.py::test_two[a b]", "tests/a.py::test_one"
    codes = []
    for failed in ([often], [once, often], [often], [once]):
        monkeypatch.setattr(check, "failed_before", lambda names=failed: names)
        codes.append(check.try_again({})[0])
    assert codes == [0, 0, 1, 0]
    assert "so no accident" in capsys.readouterr().out
    sightings = tmp_path / "var" / "tests" / "sightings.txt"
    day, commit, name = sightings.read_text().splitlines()[0].split("\t")
    assert (len(day), commit, name) == (10, "unknown", often)
    # Mended, and its lines taken out.
    sightings.write_text("")
    monkeypatch.setattr(check, "failed_before", lambda: [often])
    assert check.try_again({})[0] == 0


def test_many_failures_are_no_accident(check, monkeypatch):
    monkeypatch.setattr(check, "failed_before", lambda: [f"t{i}" for i in range(50)])
    monkeypatch.setattr(check, "run_tests", lambda *_: pytest.fail("ran again"))
    assert check.try_again({}) == (1, "")
