"""How many processes of this job the node has killed for memory.

Travels in jobs with ``agent.py`` and ``kernel/launcher.py``: standard library of
Python 3.6 or newer only.
"""

from typing import Any, Dict, List


def memory_groups(text: str) -> List[str]:
    """Return the files that count this job's kills for memory, innermost first.

    Args:
        text: ``/proc/self/cgroup``: ``0::/path`` (version 2) or
            ``4:memory:/path`` (version 1), as Linux 4.19 and later write it.
    """
    files = []
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            root, name = "/sys/fs/cgroup", "memory.events"
        elif "memory" in names.split(","):
            root, name = "/sys/fs/cgroup/memory", "memory.oom_control"
        else:
            continue
        parts = [part for part in path.split("/") if part]
        jobs = [i for i, part in enumerate(parts) if part.startswith("job_")]
        # Above the job's own group others are counted, too.
        lowest = jobs[0] + 1 if jobs else len(parts)
        for length in range(len(parts), lowest - 1, -1):
            files.append("/".join([root, *parts[:length], name]))
    return files


def oom_kills(groups: str = "/proc/self/cgroup") -> int:
    """Return how many processes of this job were killed for memory so far."""
    most = 0
    try:
        with open(groups) as file:
            names = memory_groups(file.read())
    except OSError:
        return 0
    for name in names:
        try:
            with open(name) as file:
                counts: Dict[str, Any] = dict(
                    line.split()[:2] for line in file if len(line.split()) > 1
                )
            most = max(most, int(counts.get("oom_kill", 0)))
        except (OSError, ValueError):
            continue
    return most
