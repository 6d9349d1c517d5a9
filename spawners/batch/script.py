"""The batch script of a job, rendered.

A site's operator writes the prologue and the epilogue as shell lines
(``module load …``); they are taken as they are. The command is argv from our own
code: every item is quoted here, so that none of it can be more than a word.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from importlib import resources

import jinja2

from .errors import InvalidSpec

_INTERPRETER = re.compile(r"/[A-Za-z0-9_./-]{1,100}( -l)?\Z")


def render_job_script(
    command: Sequence[str],
    *,
    prologue: Sequence[str] = (),
    epilogue: Sequence[str] = (),
    interpreter: str = "/bin/bash",
) -> str:
    """Return a script that runs ``prologue``, ``command``, ``epilogue``.

    The script ends with the command's exit code. Signals to the script reach the
    command: it takes the shell's place, or if there is an epilogue, they are passed
    on. Its standard input is empty.

    Args:
        command: program and arguments, any text but NUL.
        prologue: shell lines of the site's operator, never of a user.
        epilogue: likewise; run when the command has ended, however it did.
        interpreter: a bash, ``-l`` for a login shell.

    Raises:
        InvalidSpec: a malformed argument, named.
    """
    if not command or any("\0" in item for item in command):
        raise InvalidSpec("command", "must be a program and arguments without NUL.")
    if not _INTERPRETER.match(interpreter):
        raise InvalidSpec("interpreter", "must be the path of a shell.")
    for name, lines in (("prologue", prologue), ("epilogue", epilogue)):
        if any("\0" in line for line in lines):
            raise InvalidSpec(name, "must hold no NUL byte.")
    return _template().render(
        command=shlex.join(command),
        prologue=prologue,
        epilogue=epilogue,
        interpreter=interpreter,
    )


def _template() -> jinja2.Template:
    source = resources.files(__package__).joinpath("templates/job.sh.j2").read_text()
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  (a shell script is no HTML; argv is quoted)
    )
    return environment.from_string(source)
