"""What the hub tells notebook servers of kernels as jobs."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from hub.config.kernels import KernelOffer, KernelsSection
from spawners.kernels.settings import Gateway, KernelSettings
from spawners.profiles.profiles import parse_profiles

PROFILES = parse_profiles(
    {
        "profiles": {
            "small": {
                "title": "Small",
                "resources": {"memory": "2G", "time_limit": "8h"},
                "choices": {"time_limit": {"min": "10min", "max": "1d"}},
            },
            "gpu": {
                "title": "GPU",
                "groups": ["ml"],
                "resources": {"gpus": 1},
                "prologue": "module load cuda",
            },
        }
    },
    Path("profiles.yaml"),
)


URL = "https://gw.example.org:8001/hub/api/landbridge/jobs"


def offer(**changes):
    values = {
        "section": KernelsSection(),
        "profiles": PROFILES,
        "scheduler": "local",
        "url": URL,
    }
    return KernelOffer(**{**values, **changes})


def config(offer, groups=(), home=None):
    return offer.config_for("ann", groups, account="ann1", admin=False, home=home)


def read(text):
    return KernelSettings(**json.loads(text))


def test_a_server_reads_back_what_the_hub_wrote():
    text = config(offer(), ["ml"], Path("/home/ann"))
    settings = read(text)
    assert settings.gateway == Gateway(url=URL, user="ann", account="ann1")
    assert not settings.is_slurm
    assert settings.directory == Path("/home/ann/.local/state/landbridge")
    small, gpu = settings.read_profiles()
    assert small.resources.memory == 2 * 1024**3
    assert small.resources.time_limit == timedelta(hours=8)
    assert small.choices.time_limit.max == timedelta(days=1)
    assert gpu.prologue == ""
    assert "module load" not in text
    assert settings.idle_after == timedelta(hours=1)
    assert settings.idle_after_cpu is None


def test_a_user_is_told_only_of_what_is_open_to_them():
    settings = read(config(offer()))
    assert [profile.key for profile in settings.read_profiles()] == ["small"]
    assert settings.state == ""


def test_a_site_without_profiles_lets_everything_be_chosen():
    settings = read(config(offer(profiles=None)))
    (profile,) = settings.read_profiles()
    assert profile.choices.gpus


def test_ports_are_a_range():
    section = KernelsSection(ports="40000-40999", idle_after=0)
    settings = read(config(offer(section=section)))
    assert settings.ports == (40000, 40999)
    assert settings.idle_after is None
    for wrong in ("80-90", "50000-40000", "40000", "40000-70000", "a-b"):
        with pytest.raises(ValidationError):
            KernelsSection(ports=wrong)
