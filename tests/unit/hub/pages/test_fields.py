"""The fields of a profile: what may be chosen, within what the cluster has."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from hub.pages.fields import Field, SchedulerFacts, fields_of
from rigs.hub.cluster_pictures import CLOSED, CPU, GPU, LIMITS, STAFF, picture
from spawners.common.units import parse_memory
from spawners.profiles.profiles import Profile

CUSTOM = Profile.model_validate(
    {
        "key": "custom",
        "title": "Custom",
        "resources": {"cpus": 1, "memory": "2 GB", "time_limit": "90min"},
        "choices": {
            "cpus": {"min": 1, "max": 256},
            "memory": {"min": "256 MB", "max": "4 TB"},
            "gpus": {"max": 16},
            "gpu_model": "any",
            "time_limit": {"max": "7d"},
            "partition": "any",
            "account": "any",
            "qos": "any",
            "reservation": "any",
            "constraint": ["ib", "nvme"],
        },
    }
)
KNOWN = SchedulerFacts(picture(CPU, GPU, STAFF, CLOSED), LIMITS)


def fields(known: SchedulerFacts = KNOWN, **given: object) -> dict[str, Field]:
    return {field.name: field for field in fields_of(CUSTOM, known, given)}


def texts(field: Field) -> list[str]:
    return [option.text for option in field.options or ()]


def values(field: Field) -> list[str]:
    return [option.value for option in field.options or ()]


def test_bounds_are_those_of_profile_and_cluster_together() -> None:
    found = fields()
    assert (found["cpus"].min, found["cpus"].max) == (1, 64)
    assert (found["gpus"].min, found["gpus"].max) == (0, 4)
    assert "256 MB to 549 GB" in found["memory"].hint


def test_defaults_are_written_as_people_write_them() -> None:
    found = fields()
    assert found["memory"].value == "2 GB"
    assert found["time_limit"].value == "90min"


def test_only_partitions_that_the_user_may_enter_are_offered() -> None:
    assert values(fields()["partition"]) == ["", "cpu", "gpu"]
    staff = replace(LIMITS, accounts={"staff": frozenset()})
    known = SchedulerFacts(KNOWN.snapshot, staff)
    assert values(fields(known)["partition"]) == ["", "cpu", "gpu", "staff"]


def test_a_partition_tells_its_gpus_and_its_limit() -> None:
    assert "gpu (a100: 3 of 8 idle, l40: 0 of 2 idle, up to 4 h)" in texts(
        fields()["partition"]
    )


def test_accounts_and_qualities_are_the_users_own() -> None:
    found = fields()
    assert texts(found["account"]) == ["Chosen for me", "other", "proj (default)"]
    assert "long" in values(found["qos"])


def test_what_a_link_gave_is_filled_in() -> None:
    found = fields(cpus="7", memory="3G", time_limit="2h", partition="gpu")
    assert found["cpus"].value == "7"
    assert found["memory"].value == "3G"
    assert found["time_limit"].value == "2h"
    assert found["partition"].value == "gpu"


def test_what_was_stored_as_a_number_is_written_for_people() -> None:
    found = fields(memory=3 * 1000**3, time_limit=5400)
    assert found["memory"].value == "3 GB"
    assert found["time_limit"].value == "90min"


def test_a_list_of_the_sites_is_offered_as_it_is() -> None:
    assert values(fields()["constraint"]) == ["", "ib", "nvme"]


def test_without_a_reading_the_profiles_own_bounds_are_shown() -> None:
    found = fields(SchedulerFacts())
    assert found["cpus"].max == 256
    assert "partition" not in found
    assert "account" not in found


def test_where_there_are_no_gpus_none_can_be_chosen() -> None:
    found = fields(SchedulerFacts(picture(CPU)))
    assert "gpus" not in found
    assert "gpu_model" not in found


def test_the_longest_time_is_the_longest_of_any_open_partition() -> None:
    assert "1 min to 1 d" in fields()["time_limit"].hint
    endless = replace(CPU, max_time=None)
    hint = fields(SchedulerFacts(picture(endless, GPU)))["time_limit"].hint
    assert "to 7 d" in hint


def test_limits_smaller_than_a_default_do_not_break_the_form() -> None:
    tiny = replace(CPU, max_cpus_per_node=0, max_time=timedelta(minutes=1))
    assert fields(SchedulerFacts(picture(tiny)))["cpus"].value == "1"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (8 * 1000**3, "8 GB"),
        (1500 * 1000**2, "1500 MB"),
        (2 * 1000**4, "2 TB"),
        (4 * 1024**3, "4 GiB"),
        (300 * 1024**2, "300 MiB"),
        (1025, "1025 B"),
    ],
)
def test_memory_in_the_field_is_to_the_byte_what_was_chosen(size, text):
    assert fields(memory=size)["memory"].value == text
    assert parse_memory(text) == size
