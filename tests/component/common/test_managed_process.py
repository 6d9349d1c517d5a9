"""One process is kept running, whatever becomes of it and of us."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from spawners.common import daemon
from spawners.common.backoff import Restarts
from spawners.common.daemon import Launch, ManagedProcess, NotStarted, Program
from spawners.common.processes import ProcessId

SERVING = 'echo "I am up"; echo $$ > ready; exec sleep 1000'
STUBBORN = 'trap "" TERM; echo $$ > ready; while :; do sleep 0.05; done'
SILENT = "echo working on it; exec sleep 1000"
BROKEN = "echo no; echo it is broken >&2; exit 3"


class Shell(Program):
    """A script; it serves once its pid stands in the file ``ready``."""

    name = "The shell"
    start_seconds = 30.0
    step_seconds = 0.01
    patience_seconds = 30.0

    def __init__(self, directory: Path, script: str = SERVING) -> None:
        self.directory = directory
        self.script = script
        self.fit = True
        self.mine = True
        self.number = 0
        self.told: list[Any] = []
        self.found: list[tuple[ProcessId | None, Mapping[str, Any]]] = []

    async def prepare(self, replaced: ProcessId | None) -> Launch:
        self.number += 1
        self.told.append(("prepare", replaced))
        return Launch(
            ["/bin/sh", "-c", self.script],
            {"PATH": os.defpath, "KNOWN": "yes"},
            directory=self.directory,
            umask=0o027,
        )

    async def serves(self, process: ProcessId) -> bool:
        ready = self.directory / "ready"
        return ready.exists() and ready.read_text().strip() == str(process.pid)

    async def find(
        self, recorded: ProcessId | None, facts: Mapping[str, Any]
    ) -> ProcessId | None:
        self.found.append((recorded, facts))
        return recorded if self.fit else None

    def owns(self, process: ProcessId) -> bool:
        return self.mine

    def facts(self) -> Mapping[str, Any]:
        return {"number": self.number}

    async def started(self, process: ProcessId) -> None:
        self.told.append(("started", process))

    async def ended(self, process: ProcessId, code: int | None, pause: float) -> None:
        self.told.append(("ended", code))

    async def failed(self, error: Exception, pause: float) -> None:
        self.told.append(("failed", pause))


class Rig:
    """A directory, and those who look after its process, one after another."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log_file = directory / "log"
        self.state_file = directory / "process.json"
        self.all: list[ManagedProcess] = []

    def managed(self, program: Shell, **options: Any) -> ManagedProcess:
        options.setdefault("restarts", Restarts(0.01, 0.05, well_seconds=3600))
        managed = ManagedProcess(
            program, self.state_file, log_file=self.log_file, **options
        )
        self.all.append(managed)
        return managed

    def state(self) -> dict[str, Any]:
        return json.loads(self.state_file.read_text())


@pytest.fixture
async def rig(tmp_path):
    made = Rig(tmp_path)
    yield made
    for managed in made.all:
        await managed.stop()


@pytest.fixture
def orphan():
    """A process that is nobody's child of ours."""
    done = subprocess.run(
        ["/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"],
        capture_output=True,
        check=True,
    )
    process = ProcessId.of(int(done.stdout))
    assert process is not None
    yield process
    process.send(signal.SIGKILL)


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_it_is_started_as_it_is_said_and_written_down(rig):
    program = Shell(rig.directory, f"umask; pwd; env; {SERVING}")
    managed = rig.managed(program)
    await managed.start()
    assert managed.up.is_set()
    process = managed.process
    assert process is not None
    assert os.getsid(process.pid) == process.pid, "it gets no signal of our terminal"
    assert rig.state() == {
        "pid": process.pid,
        "started": process.started,
        "retired": [],
        "number": 1,
    }
    words = rig.log_file.read_text().splitlines()
    assert words[:2] == ["0027", str(rig.directory)]
    assert words[-1] == "I am up"
    environment = dict(word.split("=", 1) for word in words[2:-1])
    assert environment["KNOWN"] == "yes"
    assert set(environment) <= {"KNOWN", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}
    for path in (rig.log_file, rig.state_file, rig.state_file.with_suffix(".lock")):
        assert path.stat().st_mode & 0o777 == 0o600
    assert program.told == [("prepare", None), ("started", process)]


async def test_the_next_of_us_goes_on_with_it(rig):
    first = rig.managed(Shell(rig.directory))
    await first.start()
    await first.close()
    assert not first.up.is_set()
    program = Shell(rig.directory)
    second = rig.managed(program)
    await second.start()
    assert second.up.is_set()
    assert second.process == first.process
    ((recorded, facts),) = program.found
    assert recorded == first.process
    assert facts["number"] == 1
    assert program.told == []


DYING = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_managed_process import Rig, Shell
from spawners.common.daemon import wait_ended
async def main():
    rig = Rig(Path(sys.argv[1]))
    await rig.managed(Shell(rig.directory)).start()
    os._exit(7)
asyncio.run(main())
"""


async def test_it_outlives_us_and_is_adopted_after_our_death(rig):
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", DYING, str(rig.directory), *paths],
        check=False,
    )
    assert done.returncode == 7
    program = Shell(rig.directory)
    managed = rig.managed(program)
    await managed.start()
    assert managed.pid == rig.state()["pid"]
    assert program.told == []
    process = managed.process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: managed.process != process and managed.up.is_set())
    assert program.told[0] == ("ended", None), "only a parent learns the code"


DYING_EARLY = DYING.replace(
    "    await rig.managed(Shell(rig.directory)).start()\n",
    """\
    class Killed(Shell):
        async def serves(self, process):
            os._exit(7)
    if sys.argv[2] == "again":
        first = rig.managed(Shell(rig.directory))
        await first.start()
        killed = first.process
        await first.close()
        killed.send(9)
        await wait_ended(killed)
    await rig.managed(Killed(rig.directory)).start()
""",
)


@pytest.mark.parametrize("when", ["the first time", "again"])
async def test_one_that_was_starting_when_we_died_is_ended(rig, when):
    """It may hold what the next one needs, and nobody else knows of it."""
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", DYING_EARLY, str(rig.directory), when, *paths],
        check=False,
    )
    assert done.returncode == 7
    abandoned = ProcessId(*rig.state()["starting"])
    assert abandoned.alive
    program = Shell(rig.directory)
    managed = rig.managed(program)
    await managed.start()
    assert program.found[0][0] is None
    assert not abandoned.alive
    assert managed.pid == rig.state()["pid"]
    assert "starting" not in rig.state()


async def test_one_that_serves_since_we_died_is_gone_on_with(rig, orphan):
    rig.state_file.write_text(
        json.dumps({"starting": [orphan.pid, orphan.started], "number": 5})
    )

    class Found(Shell):
        async def find(self, recorded, facts):
            return orphan

    managed = rig.managed(Found(rig.directory))
    await managed.start()
    assert managed.process == orphan
    assert orphan.alive


async def test_one_that_is_not_fit_is_ended_first(rig):
    first = rig.managed(Shell(rig.directory))
    await first.start()
    await first.close()
    program = Shell(rig.directory)
    program.fit = False
    second = rig.managed(program)
    assert not await second.adopt()
    assert first.process is not None
    assert not first.process.keeps_pid
    assert second.process is None
    await second.start()
    assert second.process not in {None, first.process}


@pytest.mark.parametrize("how", ["a later one", "not of this program"])
async def test_who_got_the_pid_is_neither_adopted_nor_ended(rig, orphan, how):
    started = orphan.started - 1 if how == "a later one" else orphan.started
    rig.state_file.write_text(json.dumps({"pid": orphan.pid, "started": started}))
    program = Shell(rig.directory)
    program.mine = how == "a later one"
    managed = rig.managed(program)
    await managed.start()
    assert program.found[0][0] is None
    assert managed.pid != orphan.pid
    await managed.stop()
    assert orphan.alive


@pytest.mark.parametrize(
    "state", ["", "{", "[]", "7", '{"pid": 1}', '{"pid": "x", "started": 1}']
)
async def test_a_state_that_cannot_be_read_is_none(rig, state):
    rig.state_file.write_text(state)
    managed = rig.managed(Shell(rig.directory))
    await managed.start()
    assert rig.state()["pid"] == managed.pid


async def test_killed_it_is_back(rig):
    program = Shell(rig.directory)
    managed = rig.managed(program)
    await managed.start()
    for _ in range(3):
        old = managed.process
        assert old is not None
        os.kill(old.pid, signal.SIGKILL)
        await until(lambda old=old: managed.process != old and managed.up.is_set())
        assert rig.state()["pid"] == managed.pid
    assert [one for one in program.told if one[0] == "ended"] == [("ended", -9)] * 3


async def test_what_does_not_start_again_is_tried_with_growing_pauses(rig):
    program = Shell(rig.directory)
    managed = rig.managed(program)
    await managed.start()
    program.script = BROKEN
    old = managed.process
    assert old is not None
    os.kill(old.pid, signal.SIGTERM)
    await until(lambda: len(program.told) > 16)
    pauses = [what for kind, what in program.told if kind == "failed"]
    assert pauses[:5] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert not managed.up.is_set()
    program.script = SERVING
    await until(managed.up.is_set)
    assert rig.state()["pid"] == managed.pid


async def test_what_does_not_start_says_its_last_words(rig):
    rig.log_file.write_text("of an earlier one\n")
    program = Shell(rig.directory, BROKEN)
    managed = rig.managed(program)
    with pytest.raises(NotStarted, match="no\nit is broken") as caught:
        await managed.start()
    assert caught.value.ended
    assert caught.value.lines == ["no", "it is broken"]
    assert managed.process is None
    assert not rig.state_file.exists()
    program.script = SERVING
    await managed.start()


async def test_what_only_keeps_silent_is_ended(rig, monkeypatch):
    monkeypatch.setattr(Shell, "start_seconds", 0.3)
    spawned: list[ProcessId] = []

    def spawn(launch: Launch, log_file: Path) -> ProcessId:
        spawned.append(real(launch, log_file))
        return spawned[-1]

    real = daemon.spawn
    monkeypatch.setattr(daemon, "spawn", spawn)
    managed = rig.managed(Shell(rig.directory, SILENT))
    with pytest.raises(NotStarted) as caught:
        await managed.start()
    assert not caught.value.ended
    assert not spawned[0].keeps_pid


async def test_a_program_that_is_not_there_does_not_start(rig, monkeypatch):
    async def prepare(replaced: ProcessId | None) -> Launch:
        return Launch([str(rig.directory / "none")])

    program = Shell(rig.directory)
    monkeypatch.setattr(program, "prepare", prepare)
    with pytest.raises(NotStarted, match="No such file"):
        await rig.managed(program).start()


@pytest.mark.parametrize("script", [SERVING, STUBBORN], ids=["willing", "stubborn"])
async def test_stop_ends_it_by_sigterm_or_else_by_sigkill(rig, monkeypatch, script):
    if script is STUBBORN:
        monkeypatch.setattr(Shell, "patience_seconds", 0.3)
    managed = rig.managed(Shell(rig.directory, script))
    await managed.start()
    process = managed.process
    assert process is not None
    await managed.stop()
    assert not process.keeps_pid
    assert managed.process is None
    assert not rig.state_file.exists()


async def test_two_of_us_do_not_look_after_one(rig, monkeypatch):
    monkeypatch.setattr(daemon, "_LOCK_SECONDS", 0.2)
    first, program = rig.managed(Shell(rig.directory)), Shell(rig.directory)
    second = rig.managed(program)
    started = await asyncio.gather(
        first.start(), second.start(), return_exceptions=True
    )
    assert [type(one) for one in started] == [type(None), NotStarted]
    assert "looks after it" in str(started[1])
    assert program.told == []
    await first.close()
    await second.start()
    assert second.process == first.process


async def test_a_replacement_takes_over_and_the_old_one_ends_when_it_is_done(rig):
    program = Shell(rig.directory)
    managed = rig.managed(program)
    await managed.start()
    old = managed.process
    assert old is not None
    await managed.replace()
    assert managed.process != old
    assert old.alive
    assert rig.state()["retired"] == [[old.pid, old.started]]
    assert program.told[2] == ("prepare", old)
    old.send(signal.SIGTERM)
    await until(lambda: not old.keeps_pid)
    assert not [one for one in program.told if one[0] == "ended"]
    new = managed.process
    await managed.stop()
    assert new is not None
    assert not new.keeps_pid


async def test_a_replacement_that_does_not_start_leaves_the_old_one(rig):
    program = Shell(rig.directory)
    managed = rig.managed(program)
    await managed.start()
    old = managed.process
    program.script = BROKEN
    with pytest.raises(NotStarted, match="it is broken"):
        await managed.replace()
    assert managed.process == old
    assert managed.up.is_set()
    assert rig.state()["retired"] == []


async def test_nothing_is_changed_while_it_starts(rig):
    changing = asyncio.Lock()
    program = Shell(rig.directory)
    managed = rig.managed(program, changing=changing)
    async with changing:
        starting = asyncio.create_task(managed.start())
        await asyncio.sleep(0.1)
        assert program.told == []
    await starting
    assert not changing.locked()


async def test_its_log_does_not_grow_on(rig, monkeypatch):
    monkeypatch.setattr(daemon, "_LOG_SECONDS", 0.02)
    managed = rig.managed(Shell(rig.directory))
    await managed.start()
    with rig.log_file.open("ab") as file:
        file.write(b"x" * 10_000_001)
    await until(lambda: rig.log_file.stat().st_size == 0)
    assert (rig.directory / "log.1").stat().st_size > 10_000_000
