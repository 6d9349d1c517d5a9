"""What of a job others can see: what sbatch was given, its processes."""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rigs.faults.site import FaultSite

# Whatever sbatch is given: its arguments, its environment and its script.
RECORD = """\
kept=$(mktemp {kept}/sbatch.XXXXXX)
{{ printf '%s\\n' "$@"; env; }} > $kept
cat > $kept.script
exec /usr/bin/sbatch "$@" < $kept.script"""


@contextmanager
def recorded(site: FaultSite) -> Iterator[Path]:
    """Keep all that sbatch gets; yields the directory."""
    kept = site.tools.directory / "kept"
    for old in kept.glob("sbatch.*"):
        old.unlink()
    with site.tools.do("sbatch", RECORD.format(kept=kept)):
        yield kept


def processes(user: str, word: str) -> list[int]:
    """Ids of the processes of ``user`` whose command line holds ``word``."""
    uid = pwd.getpwnam(user).pw_uid
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if entry.stat().st_uid == uid and word.encode() in words:
                found.append(int(entry.name))
    return found


def environment_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
