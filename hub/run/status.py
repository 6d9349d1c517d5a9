"""``landbridge status``: whether the gateway runs, and what runs through it."""

from __future__ import annotations

from collections.abc import Callable

from hub.config.settings import Settings
from hub.config.site import slurm_answers

from .client import (
    HubUnreachable,
    all_users,
    ask_hub,
    haproxy_version,
    scheduler_reached,
    service_answers,
)
from .processes import process_specs


def status(settings: Settings, say: Callable[[str], None]) -> int:
    """Tell what runs; return 0 if the hub answers, 3 if it does not (as init does)."""
    say(f"scheduler  {_scheduler(settings)}")
    version = haproxy_version(settings)
    serves = f"HAProxy {version} serves" if version else "HAProxy does not answer"
    say(f"proxy      {serves}")
    for spec in process_specs(settings):
        if spec.socket is not None and spec.name != "hub":
            answers = service_answers(spec.socket, spec.health)
            say(f"{spec.name:<10} {'answers' if answers else 'does not answer'}")
    try:
        facts = ask_hub(settings, "GET", "info")
        users = list(all_users(settings))
    except HubUnreachable as error:
        say(f"hub        down: {error}")
        return 3
    say(f"hub        JupyterHub {facts['version']} at {settings.url}")
    servers = [
        (user["name"], name, server)
        for user in users
        for name, server in (user.get("servers") or {}).items()
    ]
    say(f"servers    {len(servers)}")
    for user, name, server in servers:
        state = "ready" if server.get("ready") else server.get("pending") or "stopped"
        say(f"  {user}/{name}  {state}, since {server.get('started')}")
    return 0


def _scheduler(settings: Settings) -> str:
    """Return what runs jobs, and whether it answers those that ask it."""
    kind = settings.scheduler.kind
    if kind == "local":
        return "local: processes of this machine"
    reached = scheduler_reached(settings)
    if reached is None:
        return f"{kind}: Slurm {'answers' if slurm_answers() else 'does not answer'}"
    # Slurm may answer on the jobs service's machine only.
    does = "answers" if reached else "does not answer"
    return f"{kind}: the scheduler {does} the jobs service"
