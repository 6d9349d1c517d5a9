"""Others' test suites and programs, with kernels that are Slurm jobs.

The jobs run on machines with networks of their own; the same suites run against
local kernels, and what passes there has to pass here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import nbformat
import papermill
import pytest
from nbclient import NotebookClient

from rigs.checkout import TESTS
from rigs.kernels.kernels import KernelRig, wait_until
from rigs.slurm.daemons import Rig

pytestmark = [pytest.mark.slurm, pytest.mark.root]

CONFORMANCE = TESTS / "rigs/kernels/conformance.py"
CLIENT = version("jupyter_client")
# They assert that the default provisioner is jupyter_client's own LocalProvisioner.
LOCAL_ONLY = (
    "TestDiscovery::test_find_all_specs",
    "TestRuntime::test_existing[no_provisioner]",
    "TestRuntime::test_local_provisioner_pre_launch_generates_curve_keys_over_ipc",
    "TestRuntime::test_local_provisioner_pre_launch_generates_curve_keys_under_"
    "transport_encryption",
)


def slurm_settings(rig: Rig, **more: object) -> dict[str, object]:
    return {
        "scheduler": "slurm",
        "slurm_conf": rig.environment["SLURM_CONF"],
        "munge_socket": rig.munge_socket,
        **more,
    }


@pytest.fixture
def kernels(machines_rig, shared, monkeypatch) -> Iterator[KernelRig]:
    """Kernels as jobs of other machines; specs of bash, too."""
    machines_rig.repair()
    machines_rig.clear_jobs()
    rig = KernelRig(shared, slurm_settings(machines_rig))
    for name, value in rig.variables.items():
        monkeypatch.setenv(name, value)
    for name, provisioner in (
        ("local", "local-provisioner"),
        ("batch", "landbridge-batch"),
    ):
        python = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")
        # Its completer by jedi gives up after a moment, which a busy machine takes.
        quick = "--IPCompleter.use_jedi=False"
        rig.spec(f"{name}-python", *python, quick, provisioner=provisioner)
        bash = (sys.executable, "-m", "bash_kernel", "-f", "{connection_file}")
        rig.spec(f"{name}-bash", *bash, provisioner=provisioner)
    yield rig
    rig.close()
    machines_rig.clear_jobs()


def begin(argv: list[str], **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **variables},
    )


def conformance(kind: str, **variables: str) -> subprocess.Popen[str]:
    argv = [sys.executable, str(CONFORMANCE), f"{kind}-python", f"{kind}-bash"]
    return begin(argv, **variables)


def results(program: subprocess.Popen[str]) -> Mapping[str, str]:
    text, _ = program.communicate(timeout=280)
    lines = [line for line in text.splitlines() if re.match(r"(IPython|Bash)\.", line)]
    assert lines, text[-3000:]
    return dict(line.split("\t", 1) for line in lines)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_kernels_in_jobs_conform_as_local_ones_do(kernels):
    here = kernels.path / "here.json"
    local = {"scheduler": "local", "state": str(kernels.path / "here")}
    here.write_text(json.dumps(local))
    programs = {
        "local kernels": conformance("local"),
        "local jobs": conformance("batch", LANDBRIDGE_KERNEL_CONFIG=str(here)),
        "Slurm jobs": conformance("batch"),
    }
    found = {name: results(program) for name, program in programs.items()}
    expected = found.pop("local kernels")
    assert "passed" in set(expected.values())
    assert set(expected.values()) <= {"passed", "left out"}, expected
    for name, outcome in found.items():
        assert outcome == expected, name


@pytest.fixture(scope="session")
def client_suite(pytestconfig) -> Path:
    """jupyter_client's source distribution, unpacked: its wheel has no tests."""
    cache = pytestconfig.cache.mkdir("jupyter_client")
    root = cache / f"jupyter_client-{CLIENT}"
    if not (root / "tests").is_dir():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        source = ["--no-binary", ":all:", "--no-build-isolation", "--dest", str(cache)]
        done = subprocess.run(
            [*pip, *source, f"jupyter_client=={CLIENT}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        archive = cache / f"{root.name}.tar.gz"
        subprocess.run(["tar", "-xzf", archive, "-C", cache], check=True)
    # The installed package is what is tested, not the sources beside the tests.
    shutil.rmtree(root / "jupyter_client", ignore_errors=True)
    return root


@pytest.mark.long
@pytest.mark.timeout(900)
def test_jupyter_clients_own_tests_pass_with_kernels_in_jobs(kernels, client_suite):
    kernels.write(
        pass_environment=["PYTHONPATH", "JUPYTER_*", "IPYTHONDIR", "TEST_*"],
        # As the suite gives to its local kernels: it interrupts shells that must have
        # read somebody's start-up files within a second.
        prologue=[f"export HOME={kernels.path}/home"],
    )
    deselected = [f"--deselect=tests/test_provisioning.py::{t}" for t in LOCAL_ONLY]
    options = ["-q", "-o", "addopts=", "-o", "filterwarnings="]
    shares = {
        "provisioning": ["tests/test_provisioning.py", *deselected],
        "kernelmanager": ["tests/test_kernelmanager.py", "-k", "not TestParallel"],
        "parallel": ["tests/test_kernelmanager.py", "-k", "TestParallel"],
        "restarter": ["tests/test_restarter.py"],
    }

    def program(name: str, *more: str) -> subprocess.Popen[str]:
        own = ["-o", f"cache_dir={kernels.path / name}", *shares[name], *more]
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *own],
            cwd=client_suite,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(client_suite),
                "JUPYTER_DEFAULT_PROVISIONER_NAME": "landbridge-batch",
            },
        )

    programs = {name: program(name) for name in shares}
    said = {name: p.communicate(timeout=540)[0] for name, p in programs.items()}
    for name, found in programs.items():
        if found.returncode:
            # Some of its tests give a process a tenth of a second to start: what
            # failed in the crowd has to pass alone.
            alone = program(name, "--last-failed")
            text = alone.communicate(timeout=200)[0]
            assert alone.returncode == 0, said[name][-4000:] + text[-4000:]
            said[name] += text
    passed = [int(n) for t in said.values() for n in re.findall(r"(\d+) passed", t)]
    assert sum(passed) >= 51, said


@pytest.fixture
def gpu_kernels(slurm, shared, monkeypatch) -> Iterator[KernelRig]:
    """Kernels as jobs of a Slurm with GPUs and accounting."""
    rig = KernelRig(shared, slurm_settings(slurm))
    for name, value in rig.variables.items():
        monkeypatch.setenv(name, value)
    rig.spec("gpu", profile="default", gpus=1, gpu_model="a100", memory="500M")
    yield rig
    rig.close()


def notebook() -> nbformat.NotebookNode:
    code = (
        "import os\nprint(os.environ['SLURM_JOB_GPUS'], os.environ['SLURMD_NODENAME'])"
    )
    cell = nbformat.v4.new_code_cell(code)
    kernelspec = {"name": "gpu", "display_name": "gpu", "language": "python"}
    metadata = {"kernelspec": kernelspec, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=[cell], metadata=metadata)


def printed(executed: nbformat.NotebookNode) -> str:
    outputs = [o for cell in executed.cells for o in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs).strip()


def test_nbclient_runs_a_notebook_on_a_gpu_kernel(gpu_kernels):
    executed = NotebookClient(notebook(), timeout=60, startup_timeout=3).execute()
    gpu, node = printed(executed).split()
    assert gpu.isdigit()
    assert node in ("n1", "n2")
    assert gpu_kernels.records == []


def test_papermill_runs_a_notebook_on_a_gpu_kernel(gpu_kernels):
    source, target = gpu_kernels.path / "in.ipynb", gpu_kernels.path / "out.ipynb"
    nbformat.write(notebook(), source)
    papermill.execute_notebook(source, target, progress_bar=False)
    assert printed(nbformat.read(target, 4)).split()[1] in ("n1", "n2")
    assert gpu_kernels.records == []


def test_a_preempted_kernel_is_told_so(slurm, gpu_kernels):
    name = gpu_kernels.spec("low", profile="default", partition="kill", cpus=1)
    manager, _ = gpu_kernels.start(name)
    cpus = slurm.admin("sinfo", "-h", "-n", "n4", "-p", "high", "-o", "%c").split()[0]
    slurm.submit("sleep 60", "-p", "high", f"--cpus-per-task={cpus}", user="alice")
    wait_until(
        lambda: manager.provisioner.status.phase == "ended", 60, "the preemption"
    )
    failure = manager.provisioner.status.failure
    assert "preempted" in f"{failure.title} {failure.detail}".lower()
    assert not manager.is_alive()


def test_a_kernel_that_the_node_kills_for_memory_is_told_so(
    slurm_cgroups, shared, monkeypatch
):
    kernels = KernelRig(shared, slurm_settings(slurm_cgroups))
    for name, value in kernels.variables.items():
        monkeypatch.setenv(name, value)
    name = kernels.spec("small", profile="default", memory="300 MB")
    try:
        manager, client = kernels.start(name)
        job = manager.provisioner.status.job
        client.execute("x = bytearray(900 * 1024 ** 2)")
        wait_until(lambda: not manager.is_alive(), 40, "the kill")
        status = manager.provisioner.status
        assert status.failure.title == "Out of memory"
        assert "300" in status.failure.detail
        # The launcher outlived it, and knows why.
        assert status.phase == "running"
        assert status.out_of_memory
        manager.restart_kernel(now=True)
        assert manager.provisioner.status.job == job
    finally:
        kernels.close()
