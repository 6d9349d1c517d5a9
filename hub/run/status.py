"""``landbridge status``: whether the gateway runs, and what runs through it."""

from __future__ import annotations

from collections.abc import Callable

from hub.config.settings import Settings
from hub.config.site import slurm_answers

from .cleanup import edge_process
from .client import HubUnreachable, all_users, ask_hub, service_answers
from .processes import process_specs


def status(settings: Settings, say: Callable[[str], None]) -> int:
    """Tell what runs; return 0 if the hub answers, 3 if it does not (as init does)."""
    edge = edge_process(settings)
    proxy = f"HAProxy serves, pid {edge.pid}" if edge else "HAProxy does not run"
    kind = settings.scheduler.kind
    if kind != "local":
        slurm = "answers" if slurm_answers() else "does not answer"
        say(f"scheduler  {kind}: Slurm {slurm}")
    else:
        say("scheduler  local: processes of this machine")
    say(f"proxy      {proxy}")
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
