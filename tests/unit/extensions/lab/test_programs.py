"""What a terminal and a notebook find on their PATH."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

from landbridge_lab import programs


def test_programs_beside_the_server_are_found_after_the_users_own(tmp_path):
    ours, theirs = tmp_path / "env bin", tmp_path / "theirs"
    for place, names in ((ours, ("jupyter", "tool")), (theirs, ("tool",))):
        place.mkdir()
        for name in names:
            (place / name).write_text(f"#!/bin/sh\necho {place.name}\n")
            (place / name).chmod(0o755)
    profile = f"PATH={theirs}:/usr/bin:/bin\n"
    (tmp_path / ".profile").write_text(profile)
    environment = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/bash"}
    app = SimpleNamespace(terminado_settings={})
    programs.offer(app, environment, str(ours / "python3"))
    assert environment["PATH"] == f"{ours}:/usr/bin:/bin"

    said = subprocess.run(
        app.terminado_settings["shell_command"],
        env={**environment, "HOME": str(tmp_path)},
        input="jupyter; tool\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.split() == ["env", "bin", "theirs"]


def test_a_shell_that_its_user_chose_stays(tmp_path):
    app = SimpleNamespace(terminado_settings={"shell_command": ["fish"]})
    programs.offer(app, {"PATH": "/bin"}, str(tmp_path / "python3"))
    assert app.terminado_settings == {"shell_command": ["fish"]}


def test_an_environment_that_is_active_is_left_alone(tmp_path):
    app = SimpleNamespace(terminado_settings={})
    environment = {"PATH": f"/bin:{tmp_path}"}
    programs.offer(app, environment, str(Path(tmp_path) / "python3"))
    assert environment == {"PATH": f"/bin:{tmp_path}"}
    assert app.terminado_settings == {}
