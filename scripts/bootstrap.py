"""Make the environments and run a task in them: what ``make`` calls.

Standard library only, and in words that Python 3.6 can read, so that an old
interpreter gets one clear line instead of a traceback. The environments are made
from lock files and stamped with what went into them: a second run installs nothing.

::

    <state>/env/hub      the hub, its services, HAProxy, and this checkout
    <state>/env/server   JupyterLab and our parts of it, for users' servers
    <state>/env/test     both, and what the tests and checks need
    <state>/env/clients  S3 clients that the tests run as a user would
    <state>/env/build    what builds wheels of this checkout, Node included
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.append(os.path.dirname(sys.path[0]))
import wheels
from pythons import Failure, candidates, choose_python, open_to_others, probe, say

from spawners.common.ownership import NotOurs, check_below, check_way, own_directory

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "scripts" / "locks"
# Environment name to megabytes that it takes on disk, measured, rounded up.
SIZES = {"hub": 450, "server": 900, "test": 1300, "clients": 1300, "build": 600}
# Environments that import this checkout.
EDITABLE = ("hub", "test")


# -- where the environments are -------------------------------------------------


def state_directory():
    """Return the absolute directory that holds everything that is made."""
    return Path(os.path.abspath(os.environ.get("LANDBRIDGE_STATE") or ROOT / "var"))


def environments_directory(state):
    """Return where environments go: under the state, or where jobs can read them.

    Root's jobs run as other accounts. If those cannot enter the state directory's
    parents (a checkout in /root), a directory of ours under /var/tmp is used.
    Raises Failure if somebody else made one of them: what it holds would be run.
    """
    try:
        return own_environments(state)
    except NotOurs as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"Cannot use {state}: {error.strerror}.") from None


def own_environments(state):
    """Return where environments go; what there is of it is ours alone."""
    check_way(state)
    directory = place_of_environments(state)
    parts = [state, directory]
    for name in SIZES:
        parts += [directory / name, directory / name / "bin"]
    for part in parts:
        if os.path.lexists(str(part)):
            own_directory(part, 0o755, readable=True)
            if part.name == "bin":
                check_below(part)
    return directory


def place_of_environments(state):
    """Return the directory of environments; one outside the state is made."""
    if os.geteuid() != 0 or open_to_others(state):
        return state / "env"
    digest = hashlib.sha256(str(state).encode()).hexdigest()[:12]
    shared = Path("/var/tmp") / ("landbridge-" + digest)
    own_directory(shared, 0o755, readable=True)
    say(f"Environments go to {shared}: jobs of other accounts cannot read {state}.")
    return shared / "env"


@contextlib.contextmanager
def only_one(directory):
    """Hold the right to change the environments in ``directory``."""
    handle = (directory / ".lock").open("w")
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another run is preparing {directory}; waiting for it.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        handle.close()


# -- making one -----------------------------------------------------------------


def fingerprint(name, python):
    """Return a hash of all that decides what environment ``name`` contains."""
    digest = hashlib.sha256()
    parts = [(LOCKS / (name + ".txt")).read_bytes(), repr(python).encode(), b"1"]
    parts += [wheels.source_hash(p).encode() for p in wheels.WHEELS.get(name, ())]
    if name in EDITABLE:
        parts += [(ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode()]
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def is_ready(name, directory, python):
    """True if the environment exists and was made from what we would use now."""
    try:
        stamp = (directory / name / ".stamp").read_text()
    except OSError:
        return False
    if name == "build" and not wheels.pages_are_current():
        return False
    return stamp == fingerprint(name, python)


def run_logged(command, log):
    """Run ``command``; all that it says goes to the file ``log``."""
    log.write(("$ " + " ".join(map(str, command)) + "\n").encode())
    log.flush()
    quiet = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    quiet.pop("PYTHONPATH", None)
    subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=quiet,
        cwd=str(ROOT),
        check=True,
    )


def make_venv(target, python, log):
    """Make an empty environment with pip in it at ``target``."""
    executable = python["executable"]
    if python["venv"]:
        run_logged([executable, "-I", "-m", "venv", "--clear", target], log)
        return
    # Debian without python3-venv: build it bare, and let some other pip fill it.
    helpers = [p for p in map(probe, candidates()) if p and p["pip"]]
    if not helpers:
        raise Failure(
            f"{executable} cannot make environments. Install its venv module "
            "(Debian: apt install python3-venv) and try again."
        )
    run_logged(
        [executable, "-I", "-m", "venv", "--clear", "--without-pip", target], log
    )
    helper = [helpers[0]["executable"], "-I", "-m", "pip"]
    run_logged([*helper, "--python", target / "bin" / "python", "install", "pip"], log)


def install(name, directory, python):
    """Bring environment ``name`` to what its lock file says.

    Raises Failure with the likely cause; the whole story is in the log beside it.
    """
    target = directory / name
    stamp = target / ".stamp"
    path = directory / (name + ".log")
    with path.open("wb") as log:
        try:
            if stamp.exists():
                stamp.unlink()
            if (probe(target / "bin" / "python") or {}).get("version") != python[
                "version"
            ]:
                make_venv(target, python, log)
            pip = [target / "bin" / "python", "-I", "-m", "pip", "install", "-q"]
            lock = LOCKS / (name + ".txt")
            run_logged(
                [*pip, "--no-deps", "--require-hashes", "--prefer-binary", "-r", lock],
                log,
            )
            if name in EDITABLE:
                flags = ["--no-deps", "--no-build-isolation", "-e", ROOT]
                run_logged(pip + flags, log)
            for project in wheels.WHEELS.get(name, ()):
                wheel = wheels.build(project, directory, run_logged, log)
                run_logged([*pip, "--no-deps", "--force-reinstall", wheel], log)
            if name == "build":
                wheels.build_pages(directory, run_logged, log)
            stamp.write_text(fingerprint(name, python))
        except (OSError, subprocess.CalledProcessError) as error:
            raise Failure(explain(error, path)) from None


def explain(error, path):
    """Say in one line why an installation failed, from pip's own words."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        text = ""
    text += str(error)
    where = f"The whole output is in {path}."
    if "No space left" in text or "Disk quota exceeded" in text:
        return f"The disk is full while installing into {path.parent}. {where}"
    offline = (
        "npm error network",
        "ETIMEDOUT",
        "ENOTFOUND",
        "NewConnectionError",
        "Could not find a version",
        "Max retries",
        "No matching",
    )
    if any(word in text for word in (*offline, "ProxyError", "Name or service")):
        return (
            "Cannot install packages: the package index does not answer or lacks one. "
            "Check the network, or pip's configuration for a mirror (pip config "
            "list). " + where
        )
    lines = [line for line in text.splitlines() if "ERROR" in line] or [str(error)]
    return "Cannot install packages: {}. {}".format(
        lines[-1].strip().rstrip("."), where
    )


def ensure(names, directory, python):
    """Make the named environments exist and be current; say what is being done."""
    missing = [name for name in names if not is_ready(name, directory, python)]
    if not missing:
        return
    mask = os.umask(0o022)  # other accounts' jobs read and run what is made here
    try:
        own_directory(directory.parent, 0o755, readable=True)
        own_directory(directory, 0o755, readable=True)
        needed = sum(SIZES[n] for n in missing if not (directory / n).exists())
        free = shutil.disk_usage(str(directory)).free // 1024**2
        if free < needed:
            raise Failure(
                "The disk is full: %s has %d MB free, and the environments take "
                "%d MB. Free some, or set LANDBRIDGE_STATE to another disk."
                % (directory, free, needed)
            )
        with only_one(directory):
            missing = [n for n in missing if not is_ready(n, directory, python)]
            if missing:
                say("Installing (only this once): {}".format(", ".join(missing)))
                tools = [name for name in missing if name == "build"]
                install_together(tools, directory, python)
                rest = [name for name in missing if name not in tools]
                install_together(rest, directory, python)
    except NotOurs as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"Cannot use {directory}: {error.strerror}.") from None
    finally:
        os.umask(mask)


def install_together(names, directory, python):
    """Install several environments at once; the first failure is raised."""
    failures = []

    def work(name):
        try:
            install(name, directory, python)
        except Failure as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# -- tasks ----------------------------------------------------------------------


def up(arguments):
    """Become ``landbridge`` in the hub's environment; never returns."""
    state = state_directory()
    python = choose_python(shared=os.geteuid() == 0)
    directory = environments_directory(state)
    ensure(("build", "hub", "server"), directory, python)
    program = directory / "hub" / "bin" / "landbridge"
    settings = dict(os.environ)
    settings["LANDBRIDGE_STATE"] = str(state)
    settings.setdefault("LANDBRIDGE_ENVIRONMENT", str(directory / "server"))
    os.execve(str(program), [str(program)] + (arguments or ["up"]), settings)


def make_environments(arguments):
    """Make the environments of hub and servers, and tell where they are."""
    python = choose_python(shared=os.geteuid() == 0)
    directory = environments_directory(state_directory())
    ensure(("build", "hub", "server"), directory, python)
    say(f"{directory / 'hub'}\n{directory / 'server'}")
    return 0


def test(arguments):
    """Install what the tests need, then become the checks; never returns."""
    checks = [str(ROOT / "scripts" / "check.py")]
    subprocess.run(
        [sys.executable, "-I", *checks, "--packages"],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    python = choose_python(shared=os.geteuid() == 0)
    directory = environments_directory(state_directory())
    long = "--long" in arguments
    ensure(("build", "test", *(["clients"] if long else [])), directory, python)
    if long:  # only that group asks for clients which nothing else here needs
        os.environ["LANDBRIDGE_TEST_CLIENTS"] = str(
            directory / "clients" / "bin" / "python"
        )
    program = directory / "test" / "bin" / "python"
    os.execv(str(program), [str(program), *checks, *arguments])


def main(arguments):
    """Run the task named first; return the process's exit code."""
    tasks = {"up": lambda rest: up(["up", *rest]), "run": up, "test": test}
    tasks["install"] = make_environments
    if not arguments or arguments[0] not in tasks:
        say("usage: bootstrap.py up | install | run COMMAND... | test [ARGUMENTS]")
        return 2
    try:
        return tasks[arguments[0]](arguments[1:])
    except Failure as failure:
        print(f"landbridge: {failure}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"landbridge: {error.cmd[0]} failed.", file=sys.stderr)
    except KeyboardInterrupt:
        print("landbridge: interrupted.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
