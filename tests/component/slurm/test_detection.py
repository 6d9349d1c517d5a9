"""What ``auto`` comes to on a machine with Slurm's commands."""

import pytest

from hub.config.settings import load_settings
from hub.config.site import detect, slurm_answers

pytestmark = pytest.mark.slurm


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_CONF", raising=False)
    return load_settings({"LANDBRIDGE_STATE": str(tmp_path)})


def test_a_slurm_whose_controller_is_down_is_slurm(slurm, settings, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    assert slurm_answers()
    assert detect(settings).scheduler == "slurm"
    slurm.kill("slurmctld")
    assert not slurm_answers()
    assert detect(settings).scheduler == "slurm"


def test_commands_that_know_no_controller_are_no_slurm(settings, monkeypatch, tmp_path):
    nothing = tmp_path / "slurm.conf"
    nothing.touch()
    monkeypatch.setenv("SLURM_CONF", str(nothing))
    assert not slurm_answers()
    assert detect(settings).scheduler == "local"
