"""The ``landbridge`` command: ``up``, ``jobs``, ``doctor``, ``status``, …."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from spawners.common.errors import GatewayError
from spawners.common.settings import ConfigError
from spawners.common.sockets import SocketTaken

from .config.settings import Settings, load_settings
from .registry import SERVICES
from .run.up import CannotStart, up


def say(text: str) -> None:
    """Tell the person at the terminal, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _up(settings: Settings, _chosen: argparse.Namespace) -> int:
    return up(settings, os.environ, say)


def _alone(settings: Settings, chosen: argparse.Namespace) -> int:
    from .run.alone import rotate, run_process

    if chosen.command == "hub" and chosen.rotate:
        return rotate(settings, chosen.rotate, say)
    return run_process(settings, chosen.command, os.environ)


def _edge(settings: Settings, _chosen: argparse.Namespace) -> int:
    from .run.alone import run_edge

    return run_edge(settings)


def _units(settings: Settings, chosen: argparse.Namespace) -> int:
    from .run.units import write_units

    return write_units(settings, chosen.directory, say)


def _jobs(settings: Settings, chosen: argparse.Namespace) -> int:
    from .run.jobs import rotate, run_jobs

    if chosen.rotate:
        return rotate(settings, chosen.rotate, say)
    return run_jobs(settings)


def _doctor(settings: Settings, _chosen: argparse.Namespace) -> int:
    from .run.doctor import doctor

    return doctor(settings, say)


def _status(settings: Settings, _chosen: argparse.Namespace) -> int:
    from .run.status import status

    return status(settings, say)


def _identities(settings: Settings, chosen: argparse.Namespace) -> int:
    from .auth.identities import manage

    return manage(settings, say, chosen.forget)


COMMANDS = {
    "up": (_up, "run the gateway in the foreground; Ctrl-C stops everything"),
    "jobs": (_jobs, "run the jobs service alone: it submits, watches and ends jobs"),
    "edge": (_edge, "run HAProxy alone, and keep it running"),
    "hub": (_alone, "run JupyterHub alone, at a jobs service and an edge that run"),
    **{
        service.name: (
            _alone,
            f"run {service.title[0].lower()}{service.title[1:]} alone",
        )
        for service in SERVICES
    },
    "culler": (_alone, "run alone what stops idle servers"),
    "units": (_units, "show a systemd unit for each process, or write them"),
    "doctor": (_doctor, "look for what is missing or wrong on this machine"),
    "status": (_status, "tell whether the gateway runs, and its servers"),
    "identities": (
        _identities,
        "list which identity of the provider signs in to which account",
    ),
}


# The option of a command, what stands behind it, and what it is for.
OPTIONS = {
    "jobs": (
        "--rotate",
        "CLIENT",
        "give a client of the service another token, and run nothing",
    ),
    "hub": (
        "--rotate",
        "SERVICE",
        "give a service another token of the hub, and run nothing",
    ),
    "units": ("--directory", "DIRECTORY", "write them there, as /etc/systemd/system"),
    "identities": (
        "--forget",
        "ACCOUNT",
        "unbind an account: whoever signs in to it next is bound",
    ),
}


def parser() -> argparse.ArgumentParser:
    """Return the command's parser; the reference page is tested against it."""
    top = argparse.ArgumentParser(
        prog="landbridge",
        description="Notebooks, models and Dask clusters as batch jobs.",
        epilog="Settings come from config/gateway.toml, then LANDBRIDGE_* variables.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name in OPTIONS:
            option, value, meaning = OPTIONS[name]
            command.add_argument(option, metavar=value, default="", help=meaning)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; what goes wrong is one line on stderr and an exit code."""
    chosen = parser().parse_args(arguments)
    try:
        return COMMANDS[chosen.command][0](load_settings(os.environ), chosen)
    except (CannotStart, ConfigError, GatewayError, SocketTaken) as error:
        sys.stderr.write(f"landbridge: {error}\n")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        where = f": {error.filename}" if error.filename else ""
        sys.stderr.write(f"landbridge: {error.strerror}{where}\n")
    except KeyboardInterrupt:
        sys.stderr.write("landbridge: interrupted.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
