"""Run every check and test of the project: what ``make test`` does.

``--packages`` only installs the Debian packages that the tests use (as root, where
``apt-get`` exists). ``--strict`` makes a skipped test a failure; ``--long`` runs
the tests marked so instead of all others. Anything else goes to pytest. The last line
printed is pytest's own closing line.
"""

import datetime
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "ceph-common",
    "ceph-mon",
    "ceph-osd",
    "chromium",
    "chromium-driver",
    "iproute2",
    "make",
    "mariadb-server",
    "munge",
    "openssh-client",
    "openssh-server",
    "postgresql",
    "procps",
    "python3-venv",
    "radosgw",
    "rclone",
    "slurm-wlm",
    "slurm-wlm-jwt-plugin",
    "slurmdbd",
    "sudo",
)
# Every test with its seconds, as JUnit; kept, so that the bill can be looked at.
REPORTS = ROOT / "var" / "tests"
_SLOWEST = 30
# Most tests wait for daemons: three run at a time, each file by one process.
_SHARED_OUT = ("--numprocesses=3", "--dist=loadfile")
# More failures than this are not tried again.
_ACCIDENTS = 12
# What failed and passed alone, one line each time: date, commit, test. Who has mended a
# test takes its lines out.
_SIGHTINGS = "sightings.txt"
_TOO_OFTEN = 3
CHECKS = (
    ("lint", ["ruff", "check", "--quiet", "--output-format", "concise", "."]),
    ("format", ["ruff", "format", "--check", "--quiet", "."]),
    ("types", ["mypy"]),
    # ESLint and Prettier, installed where the extension is built.
    ("panels", ["npm", "--prefix", "extensions/lab", "run", "--silent", "lint"]),
)


def missing_packages():
    """Return the Debian packages that are not installed; none elsewhere."""
    if not shutil.which("dpkg-query"):
        return []
    listing = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    ).stdout.decode()
    installed = {
        line.split()[0] for line in listing.splitlines() if " installed" in line
    }
    return [name for name in PACKAGES if name not in installed]


def ensure_packages():
    """Install what is missing, as root on a Debian-like machine; else say so."""
    missing = missing_packages()
    if not missing:
        return 0
    names = " ".join(missing)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"Not root, so not installed: {names}. Tests that need them are skipped.")
        return 0
    print(f"Installing Debian packages: {names}", flush=True)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "-q", "-y", "--no-install-recommends", "install", *missing]
    for command in (["apt-get", "-q", "update"], install):
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
        if done.returncode:
            print(done.stdout.decode(errors="replace")[-3000:])
            print(f"landbridge: {' '.join(command[:4])} failed.", file=sys.stderr)
            return done.returncode
    return 0


def tool(name):
    """Return the path of a program of this environment, or of the one that builds."""
    here = Path(sys.executable).parent
    built = here.parent.parent / "build" / "bin"
    return next((d / name for d in (here, built) if (d / name).exists()), here / name)


def run_checks(environment):
    """Run the linters and the type checker; return the names of those that failed."""
    failed = []
    for name, command in CHECKS:
        program = tool(command[0])
        path = f"{program.parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            # Most tests wait for daemons, beside which this runs: not in their way.
            ["nice", str(program), *command[1:]],
            cwd=ROOT,
            env=dict(environment, PATH=path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        print(f"{name}: {'ok' if done.returncode == 0 else 'FAILED'}", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout.decode(errors="replace"), flush=True)
    return failed


def run_tests(arguments, environment, report="report.xml"):
    """Run pytest, showing its output; return (exit code, closing line, skipped).

    ``skipped`` is a list of "name: reason". The JUnit report is kept as ``report``.
    """
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / report
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"--junitxml={path}", *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    closing = ""
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            closing = line.strip() or closing
        code = process.wait()
    except KeyboardInterrupt:
        # pytest got the same Ctrl-C and is tearing its servers down.
        code = process.wait()
    return code, closing, skipped_in(path)


def failed_before():
    """Return the ids of the tests that failed in the run that just ended."""
    store = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
    return sorted(json.loads(store.read_text())) if store.exists() else []


def try_again(environment, chosen=()):
    """Run a few failed tests once more, alone; return (exit code, closing line).

    On a busy machine a wait may run out though nothing is wrong. What passes now is
    named and written down, so that it is seen to, and fails the run when it is seen too
    often; many failures are no accident and stay failures.
    """
    failed = failed_before()
    if not failed or len(failed) > _ACCIDENTS:
        return 1, ""
    print(f"Trying {len(failed)} failed tests again, alone:", flush=True)
    code, closing, _ = run_tests(["--last-failed", *chosen], environment, "again.xml")
    if code == 0:
        print("Failed at first and passed alone:")
        print("".join(f"  {name}\n" for name in failed), end="")
        often = write_down(failed)
        if often:
            print(f"Seen {_TOO_OFTEN} times, so no accident; mend and take out of")
            print(f"{REPORTS / _SIGHTINGS}:")
            print("".join(f"  {name}\n" for name in often), end="")
            code = 1
        print(closing, flush=True)
    return code, closing


def write_down(names):
    """Record tests that failed and passed alone; return those seen too often."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    commit = done.stdout.decode().strip() or "unknown"
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / _SIGHTINGS
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{today}\t{commit}\t{name}\n" for name in names)
    lines = path.read_text(encoding="utf-8").splitlines()
    seen = [line.split("\t", 2)[-1] for line in lines]
    return [name for name in names if seen.count(name) >= _TOO_OFTEN]


def cases_in(report):
    """Return the test cases of a JUnit report; none if there is no report."""
    if not report.exists():
        return []
    return list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 -- ours


def skipped_in(report):
    """List the skipped tests in a JUnit report that pytest just wrote."""
    return [
        f"{case.get('classname')}.{case.get('name')}: {skip.get('message')}"
        for case in cases_in(report)
        for skip in case.iter("skipped")
        if skip.get("type") != "pytest.xfail"
    ]


def show_bill(report):
    """Print what the tests cost: seconds by folder, and the slowest of them.

    A fixture that a whole session shares is on the bill of the test that came first.
    """
    seconds, counts, slowest = {}, {}, []
    for case in cases_in(report):
        module = case.get("classname", "").removeprefix("tests.")
        folder = "/".join(part for part in module.split(".") if "test_" not in part)
        took = float(case.get("time", 0))
        seconds[folder] = seconds.get(folder, 0.0) + took
        counts[folder] = counts.get(folder, 0) + 1
        slowest.append((took, f"{module}::{case.get('name')}"))
    print(f"Seconds by folder ({report.relative_to(ROOT)} has every test):")
    for folder in sorted(seconds, key=seconds.get, reverse=True):
        print(f"  {seconds[folder]:8.1f} s  {counts[folder]:5d} tests  {folder}")
    print(f"The {_SLOWEST} slowest:")
    for took, name in sorted(slowest, reverse=True)[:_SLOWEST]:
        print(f"  {took:8.1f} s  {name[:100]}")


def main(arguments):
    """Return 0 if all is well."""
    if "--packages" in arguments:
        return ensure_packages()
    strict = "--strict" in arguments
    chosen = ["-m", "long"] if "--long" in arguments else []
    rest = [item for item in arguments if item not in ("--strict", "--long")]
    binaries = str(Path(sys.executable).parent)
    environment = dict(os.environ, PATH=binaries + os.pathsep + os.environ["PATH"])
    environment.pop("PYTHONPATH", None)
    with ThreadPoolExecutor(1) as beside:
        checks = beside.submit(run_checks, environment)
        code, closing, skipped = run_tests([*_SHARED_OUT, *chosen, *rest], environment)
        failed = checks.result()
    if code == 1:
        code, again = try_again(environment, chosen)
        closing = again or closing
    show_bill(REPORTS / "report.xml")
    if skipped:
        print(f"Skipped, {len(skipped)}:")
        print("".join(f"  {line}\n" for line in skipped), end="")
    if failed:
        print(f"Failed checks: {', '.join(failed)}")
    if strict and skipped:
        print("Nothing may be skipped here.")
        code = code or 1
    print(closing, flush=True)
    return code or bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
