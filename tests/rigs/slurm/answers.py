"""A runner that answers what a test says, and lines of Slurm's for one job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spawners.batch.errors import BatchError
from spawners.batch.models import BatchJob
from spawners.batch.runners.direct import Completed
from spawners.batch.slurm.commands import SlurmSettings
from spawners.batch.slurm.scheduler import SlurmScheduler

RECORDED = Path(__file__).parent / "recorded"
SUBMITTED = datetime.fromtimestamp(1795529901, UTC)
JOB = BatchJob("75", "lb-run", "alice", 1001, SUBMITTED)
LINE = b"75|1001|1795529901|RUNNING|n1|1795529901|1795531701|1|gpu|0|0|None|\n"
ENDED = LINE.replace(b"RUNNING", b"FAILED")
NAMED = b"75|1001|alice|1795529901|RUNNING|n1|\n"
ROW = b"75|1001|1795529901|1795529901|1795529955|COMPLETED|0:0|n1\n"

Answer = bytes | tuple[int, bytes, bytes] | BatchError


def recorded(name: str) -> bytes:
    return (RECORDED / name).read_bytes().partition(b"\n")[2]


GHOSTS: dict[str, bytes] = {
    "no row": b"",
    "still waiting": ROW.replace(b"COMPLETED", b"PENDING"),
    "still running": ROW.replace(b"COMPLETED", b"RUNNING"),
    "an older job under the id": ROW.replace(b"1795529901|", b"1795000000|", 1),
    "somebody else's": ROW.replace(b"1001", b"1002"),
    "a refused submission": b"75|1001|1795529901|1795529901|1795529901|FAILED|1:0|"
    b"None assigned\n",
    "requeued, then nothing": ROW.replace(b"COMPLETED", b"REQUEUED"),
    "ended, then a younger ghost": ROW
    + b"75|1001|1795529990|None|Unknown|PENDING|0:0|None assigned\n",
}


class Runner:
    """Answers by kind of command and records every call."""

    def __init__(self, **answers: Answer) -> None:
        self.answers: dict[str, Answer] = {
            "config": recorded("scontrol-config.txt"),
            "partition": recorded("scontrol-partitions.txt"),
            "sinfo": recorded("sinfo-nodes.txt"),
            "listing": LINE,
            "one": LINE,
            "named": NAMED,
            "sacct": b"",
            "scancel": b"",
            "sbatch": b"75\n",
            "user": recorded("sacctmgr-alice.txt"),
            "assoc": recorded("sacctmgr-accounts.txt"),
            "qos": recorded("sacctmgr-qos.txt"),
            **answers,
        }
        self.calls: list[tuple[str, list[str], str | None]] = []
        self.stdin = b""
        self.env: Mapping[str, str] = {}

    @staticmethod
    def kind(argv: Sequence[str]) -> str:
        if argv[0] == "squeue":
            if any(item.startswith("--jobs=") for item in argv):
                return "one"
            named = any(item.startswith("--name=") for item in argv)
            return "named" if named else "listing"
        words = ("config", "partition", "user", "assoc", "qos")
        return next((word for word in words if word in argv), argv[0])

    async def run(self, argv, *, user, stdin=b"", env=(), timeout=30.0):
        assert timeout >= 25
        kind = self.kind(argv)
        self.calls.append((kind, list(argv), user))
        if kind == "sbatch":
            self.stdin, self.env = stdin, dict(env)
        else:
            assert dict(env) == {"SLURM_TIME_FORMAT": "%s"}
        answer = self.answers[kind]
        if isinstance(answer, BatchError):
            raise answer
        code, out, err = answer if isinstance(answer, tuple) else (0, answer, b"")
        return Completed(code, out, err, timedelta(0))

    async def read_tail(self, path, *, user, max_bytes=16_384):
        self.calls.append(("read", [path], user))
        return b"the end\xff"

    async def close(self) -> None: ...

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.calls if kind != "config"]


def scheduler(runner: Runner, **settings: object) -> SlurmScheduler:
    return SlurmScheduler(runner, SlurmSettings(**settings))
