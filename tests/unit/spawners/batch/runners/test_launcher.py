"""landbridge-launch: what it refuses, and what it is while it works."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spawners.batch.runners import launcher
from spawners.batch.runners.launcher import Refused, Settings, parse_request

PROGRAM = Path(launcher.__file__)
RUN: dict[str, Any] = {
    "version": 1,
    "operation": "run",
    "user": "alice",
    "argv": ["squeue", "--noheader"],
    "environment": {},
    "stdin": "",
    "timeout": 5,
}
SCRIPT = base64.b64encode(b"#!/bin/sh\n").decode()
READ: dict[str, Any] = {
    "version": 1,
    "operation": "read",
    "user": "alice",
    "path": "/home/alice/x",
    "max_bytes": 100,
}


def kind_of(raw: bytes) -> str:
    with pytest.raises(Refused) as refusal:
        parse_request(raw)
    return refusal.value.kind


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"7",
        b'"run"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"operation": ["run"]}',
        b'{"operation": "run", "operation": "read"}',
        b'{"version": 1, "operation": "shell"}',
        b" " * (launcher.MAX_REQUEST + 1),
    ],
)
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    assert kind_of(raw) == "malformed"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("version", True),
        ("version", 1.0),
        ("user", ""),
        ("user", "a" * 33),
        ("user", "-u"),
        ("user", "#0"),
        ("user", "0"),
        ("user", "alice\n"),
        ("user", "alice;id"),
        ("user", "al ice"),
        ("user", "älice"),
        ("user", "../alice"),
        ("user", ["alice"]),
        ("user", 1001),
        ("argv", []),
        ("argv", "squeue"),
        ("argv", ["squeue", 5]),
        ("argv", ["squeue", None]),
        ("argv", ["squeue", "a\0b"]),
        ("argv", ["squeue", "\ud800"]),
        ("argv", ["squeue", "x" * 40_000]),
        ("argv", ["squeue"] * 2001),
        ("environment", []),
        ("environment", {"A B": "x"}),
        ("environment", {"": "x"}),
        ("environment", {"A=B": "x"}),
        ("environment", {"LANDBRIDGE_X": 1}),
        ("environment", {"LANDBRIDGE_X": "a\0b"}),
        ("environment", {"LANDBRIDGE_X\n": "x"}),
        ("environment", {f"LANDBRIDGE_{i}": "x" for i in range(201)}),
        ("stdin", "%%%"),
        ("stdin", "YQ"),
        ("stdin", "YQ==\n"),
        ("stdin", "a==="),
        ("stdin", 5),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", 301),
        ("timeout", "5"),
        ("timeout", True),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("timeout", 10**400),
        ("cwd", "/"),
        ("uid", 0),
    ],
)
def test_a_bad_value_is_refused(key: str, value: object) -> None:
    assert kind_of(json.dumps({**RUN, key: value}).encode()) == "malformed"


@pytest.mark.parametrize("key", ["user", "argv", "environment", "stdin", "timeout"])
def test_every_key_is_needed(key: str) -> None:
    rest = {name: value for name, value in RUN.items() if name != key}
    assert kind_of(json.dumps(rest).encode()) == "malformed"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", "x"),
        ("path", ""),
        ("path", "/a\0"),
        ("path", "/" * 5000),
        ("max_bytes", 0),
        ("max_bytes", 2**21),
        ("max_bytes", 1.5),
        ("max_bytes", True),
    ],
)
def test_a_bad_value_of_a_read_is_refused(key: str, value: object) -> None:
    assert kind_of(json.dumps({**READ, key: value}).encode()) == "malformed"


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", "id"],
        ["/usr/bin/squeue"],
        ["../squeue"],
        ["squeue "],
        [""],
        ["srun", "id"],
        ["salloc"],
        ["scontrol"],
        ["scontrol", "update", "JobId=1"],
        ["scontrol", "-o"],
        ["scontrol", "-M", "show", "shutdown"],
        ["scontrol", "--cluster", "show", "shutdown"],
        ["scontrol", "requeue", "1"],
        ["sacctmgr", "add", "user"],
        ["sacctmgr", "-i", "show", "user"],
        ["sacctmgr", "load", "file"],
        ["tail", "-f", "/etc/passwd"],
    ],
)
def test_commands_outside_the_closed_set_are_refused(argv: list[str]) -> None:
    assert kind_of(json.dumps({**RUN, "argv": argv}).encode()) == "refused"


@pytest.mark.parametrize("name", ["sbatch", "scancel"])
def test_nothing_is_changed_by_nobody(name: str) -> None:
    raw = json.dumps({**RUN, "user": None, "argv": [name]}).encode()
    assert kind_of(raw) == "refused"


@pytest.mark.parametrize(
    "argv",
    [
        ["scontrol", "show", "config"],
        ["scontrol", "--all", "--oneliner", "show", "partition"],
        ["scontrol", "ping"],
        ["sacctmgr", "--noheader", "--parsable2", "--readonly", "show", "user"],
        ["sbatch", "--parsable", "--export=NIL"],
        ["scancel", "7"],
    ],
)
def test_the_schedulers_commands_pass(argv: list[str]) -> None:
    stdin = SCRIPT if argv[0] == "sbatch" else ""
    raw = json.dumps({**RUN, "argv": argv, "stdin": stdin}).encode()
    assert parse_request(raw)["argv"] == argv


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_understood(raw: bytes) -> None:
    try:
        parse_request(raw)
    except Refused as refusal:
        assert refusal.kind in {"malformed", "refused"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(RUN)), _JSON)
def test_any_value_is_refused_or_of_its_type(key: str, value: object) -> None:
    try:
        request = parse_request(json.dumps({**RUN, key: value}).encode())
    except Refused as refusal:
        assert refusal.kind in {"malformed", "refused"}
        return
    assert request["argv"][0] in {"squeue"}
    assert request["user"] is None or request["user"].isascii()
    assert all("\0" not in item for item in request["argv"])
    assert 0 < request["timeout"] <= launcher.MAX_TIMEOUT


@given(st.text(max_size=40))
def test_a_steering_variable_is_never_a_known_one(name: str) -> None:
    if launcher.KNOWN_VARIABLE.match(name):
        assert not launcher.STEERING_VARIABLE.match(name)


@pytest.mark.parametrize("name", ["root", "daemon", "nobody", "nosuchuser", "a/b", ""])
def test_accounts_of_the_system_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        launcher.find_account(name, Settings())


@pytest.mark.root
def test_an_account_outside_the_group_is_refused(people: tuple[str, str]) -> None:
    assert launcher.find_account("alice", Settings(group="alice")).pw_name == "alice"
    with pytest.raises(Refused, match="not in the group"):
        launcher.find_account("bob", Settings(group="alice"))
    with pytest.raises(Refused):
        launcher.find_account("bob", Settings(group="no-such-group"))
    with pytest.raises(Refused, match="not the account of a person"):
        launcher.find_account("bob", Settings(minimum_uid=60_000))


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("{}", 0o666),
        ("{}", 0o664),
        ("[]", 0o644),
        ("{", 0o644),
        ('{"unknown": 1}', 0o644),
        ('{"minimum_uid": "0"}', 0o644),
        ('{"minimum_uid": true}', 0o644),
        ('{"path": "/usr/bin"}', 0o644),
        ('{"group": ["x"]}', 0o644),
        ('{"sbatch_options": "--container"}', 0o644),
        ('{"questions_as": null}', 0o644),
    ],
)
def test_doubtful_settings_stop_it(tmp_path: Path, text: str, mode: int) -> None:
    file = tmp_path / "launch.json"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(Refused) as refusal:
        launcher.load_settings(str(file), required=True)
    assert refusal.value.kind == "unavailable"
    assert str(file) in str(refusal.value)


def test_a_named_settings_file_must_exist(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    assert launcher.load_settings(path, required=False) == Settings()
    with pytest.raises(Refused):
        launcher.load_settings(path, required=True)


def test_it_imports_nothing_but_the_standard_library() -> None:
    code = f"import sys; sys.argv = ['x']; exec(open({str(PROGRAM)!r}).read())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        input=b"no request",
        capture_output=True,
        check=False,
    )
    assert json.loads(done.stdout)["error"] == "malformed"
