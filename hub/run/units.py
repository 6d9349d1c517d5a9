"""``landbridge units``: one systemd unit for each process, from the table."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path

from hub.config.settings import Settings
from spawners.common.settings import ConfigError

from .processes import EDGE, ProcessSpec, process_specs

_PREFIX = "landbridge"
_TARGET = f"{_PREFIX}.target"
_SPARE_SECONDS = 30
_OPEN_FILES = 65_536
# Lines that one process has and the others do not.
_EXTRA = {
    # Another owner of HAProxy, of the release that is installed now; the connections
    # stay.
    EDGE: ("ExecReload=/bin/kill -HUP $MAINPID",)
}


def unit_name(spec: ProcessSpec) -> str:
    """Return the name of a process's unit."""
    return f"{_PREFIX}-{spec.name}.service"


def unit_of(spec: ProcessSpec, settings: Settings, account: str) -> str:
    """Return the text of a process's unit.

    Args:
        spec: the process.
        settings: the site's; they come from a file.
        account: that it runs as.
    """
    after = [
        "network-online.target",
        *(f"{_PREFIX}-{name}.service" for name in _after(spec)),
    ]
    program = Path(sys.executable).parent / "landbridge"
    lines = [
        "# Written by `landbridge units`; change it by drop-ins, not here.",
        "[Unit]",
        f"Description=Landbridge: {spec.title[0].lower()}{spec.title[1:]}",
        "Wants=network-online.target",
        f"After={' '.join(after)}",
        # One that ends again and again must not stay down: others go on without it.
        "StartLimitIntervalSec=0",
        f"PartOf={_TARGET}",
        "",
        "[Service]",
        f"User={account}",
        # The process makes it where it is not there yet.
        f"WorkingDirectory=-{_specifiers_escaped(settings.state)}",
        f"Environment={_word(f'LANDBRIDGE_CONFIG={settings.path}')}",
        # In the file it may be relative to where we are now.
        f"Environment={_word(f'LANDBRIDGE_STATE={settings.state}')}",
        f"ExecStart={_word(program)} {spec.name}",
        *_EXTRA.get(spec.name, ()),
        # Jobs of this machine, HAProxy and the embedded store outlive a process that
        # looks after them: the next one goes on with them.
        "KillMode=process",
        "Restart=always",
        "RestartSec=2",
        f"TimeoutStopSec={int(spec.patience_seconds) + _SPARE_SECONDS}",
        f"LimitNOFILE={_OPEN_FILES}",
        "UMask=0077",
        "",
        "[Install]",
        f"WantedBy={_TARGET}",
    ]
    return "\n".join(lines) + "\n"


def _specifiers_escaped(text: object) -> str:
    """Return a text in which systemd sees no specifier such as ``%h``."""
    return str(text).replace("%", "%%")


def _word(text: object) -> str:
    """Return one word of a unit's line, whatever characters it holds."""
    escaped = _specifiers_escaped(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _after(spec: ProcessSpec) -> tuple[str, ...]:
    # Those wait for what they need by themselves; this only spares them the waiting.
    return spec.needs or (() if spec.name == "jobs" else ("jobs",))


def target(settings: Settings) -> str:
    """Return the text of the target that starts and stops all of them."""
    wants = " ".join(unit_name(spec) for spec in process_specs(settings))
    return (
        "# Written by `landbridge units`.\n"
        "[Unit]\n"
        "Description=Landbridge: a gateway to batch jobs\n"
        f"Wants={wants}\n\n"
        "[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def write_units(settings: Settings, directory: str, say: Callable[[str], None]) -> int:
    """Write all units into ``directory``, or show them where there is none.

    Raises:
        ConfigError: the settings come from no file, so that no unit could name them.
    """
    if settings.path is None:
        message = "units name the file of settings: set LANDBRIDGE_CONFIG."
        raise ConfigError(Path("gateway.toml"), [message])
    account = pwd.getpwuid(os.geteuid()).pw_name
    units = {
        unit_name(spec): unit_of(spec, settings, account)
        for spec in process_specs(settings)
    }
    units[_TARGET] = target(settings)
    for name, text in units.items():
        if directory:
            Path(directory, name).write_text(text, encoding="utf-8")
            say(f"{directory}/{name}")
        else:
            say(f"# {name}\n{text}")
    return 0
