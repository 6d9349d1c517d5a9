"""Kernelspecs that their users wrote: B01 of the bad-input matrix."""

from __future__ import annotations

import json
import tempfile

import pytest
from jupyter_client.kernelspec import KernelSpec

from spawners.kernels.errors import KernelNotStarted
from spawners.kernels.provisioner import BatchKernelProvisioner

HOSTILE = [
    "gpu\n#SBATCH --uid=root",
    "--uid=root",
    "gpu'; id; '",
    "$(id)",
    "{{7*7}}",
    "{cmd}",
    "a b",
    "../../etc",
    "gpu\x00",
    "gpu\x1b[31m",
    "\uff47\uff50\uff55",
    "gpu\u202e",
    "x" * 201,
    "<script>alert(1)</script>",
    "=",
    -1,
    True,
    1e308,
    10**30,
    [],
    ["gpu"],
    {"gpu": 1},
]
FIELDS = [
    *("profile", "cpus", "memory", "gpus", "gpu_model", "time_limit", "partition"),
    *("account", "qos", "reservation", "constraint", "nodes", "options", "prologue"),
    *("command", "environment", "name", "user", "script", "has_process"),
]


@pytest.fixture(autouse=True)
def own_directory_for_sockets(kernels, monkeypatch):
    (kernels.path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(kernels.path / "tmp"))


async def start(config: dict) -> None:
    spec = KernelSpec(argv=["true"], display_name="x", language="x")
    provisioner = BatchKernelProvisioner(
        kernel_id="k-1", kernel_spec=spec, parent=None, **config
    )
    ready = await provisioner.pre_launch(env={})
    await provisioner.launch_kernel(ready.pop("cmd"), **ready)


def submitted(kernels) -> list:
    jobs = (kernels.path / "state/local/jobs").glob("*")
    return [*kernels.records, *jobs, *(kernels.path / "tmp").glob("lbk-*")]


@pytest.mark.parametrize("field", FIELDS)
async def test_no_value_gets_past_the_schema(kernels, field):
    for value in HOSTILE:
        with pytest.raises(KernelNotStarted) as caught:
            await start({field: value})
        text = str(caught.value)
        assert len(text) < 1000
        assert text.isprintable(), repr(text)
    assert submitted(kernels) == []


async def test_no_name_gets_past_the_schema(kernels):
    for name in HOSTILE:
        if isinstance(name, str):
            with pytest.raises(KernelNotStarted):
                await start({name: "1"})
    assert submitted(kernels) == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernel_provisioner": {"provisioner_name": "landbridge-batch", "config": c}}
        for c in (
            {"parent": None},
            {"kernel_id": "x"},
            {"log": "x"},
            {"config": 1},
            [1],
        )
    ],
)
def test_a_config_that_names_our_own_arguments_starts_nothing(kernels, metadata):
    name = kernels.spec("odd")
    path = kernels.path / "share/kernels/odd/kernel.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "metadata": metadata}))
    with pytest.raises(Exception):  # noqa: B017 - jupyter_client's own
        kernels.manager(name).start_kernel()
    assert submitted(kernels) == []


def test_what_a_dialog_chose_replaces_the_kernelspecs_claim(kernels):
    class Manager(kernels.manager_class):
        def kernel_choices(self, kernel_id):
            return {"profile": "default", "gpus": 1} if kernel_id else None

    manager = kernels.adopt(Manager(kernel_name=kernels.spec("x", profile="nonsense")))
    manager.start_kernel()
    assert manager.provisioner.status.resources.gpus == 1


def test_a_choice_is_checked_as_a_kernelspec_is(kernels):
    class Manager(kernels.manager_class):
        def kernel_choices(self, kernel_id):
            return {"profile": "default", "partition": "x\n--uid=0"}

    manager = kernels.adopt(Manager(kernel_name="batch-python"))
    with pytest.raises(KernelNotStarted, match="partition"):
        manager.start_kernel()
    assert submitted(kernels) == []
