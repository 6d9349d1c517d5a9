import math
from datetime import UTC, datetime, timedelta

import pytest

from rigs.checkout import CHECKOUT
from spawners.batch.errors import InvalidSpec
from spawners.batch.models import Resources
from spawners.batch.scheduler import ClusterSnapshot, GpuPool, Partition
from spawners.common.settings import ConfigError
from spawners.profiles.choices import Choices
from spawners.profiles.profiles import Asked, Profile, Profiles, load_profiles

SHIPPED = CHECKOUT / "config" / "profiles.yaml"
GIB = 1024**3
GB = 1000**3

SITE = """
profiles:
  small:
    title: Small
    resources: {cpus: 1, memory: 2 GB, time_limit: 8h}
  team:
    title: Team
    groups: [team]
    default: true
    environment: {A: b}
    prologue: module load python
    resources: {cpus: 2, partition: fat}
  gpu:
    title: GPU
    requires: gpu
    resources: {gpus: 1, gpu_model: a100}
    choices:
      gpus: {min: 0, max: 4}
      gpu_model: [a100, l40]
  custom:
    title: Custom
    choices:
      cpus: {min: 1, max: 16}
      memory: {min: 1G, max: 64G}
      gpus: {max: 4}
      gpu_model: any
      time_limit: {min: 10min, max: 2d}
      partition: any
      account: any
      qos: any
      reservation: any
      constraint: any
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Profiles:
        path = tmp_path / "profiles.yaml"
        path.write_text(text)
        return load_profiles(path)

    return read


@pytest.fixture
def site(read):
    return read(SITE)


def snapshot(**gpus: str) -> ClusterSnapshot:
    partitions = [Partition("cpu", default=True)]
    for name, model in gpus.items():
        partitions.append(Partition(name, gpus=(GpuPool(model, 4, 2, 4),)))
    return ClusterSnapshot(datetime.now(UTC), tuple(partitions), {})


def custom(site: Profiles, **options: object) -> Resources:
    return site.resolve({"profile": "custom", **options}).resources


def refusal(site: Profiles, options: object) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        site.resolve(options)
    return caught.value


# What is offered


def keys(profiles) -> list[str]:
    return [profile.key for profile in profiles]


def test_a_profile_is_offered_to_its_groups_only(site):
    assert keys(site.for_user([])) == ["small", "gpu", "custom"]
    assert keys(site.for_user(["team"])) == ["small", "team", "gpu", "custom"]
    assert keys(site.for_user([], admin=True)) == ["small", "team", "gpu", "custom"]


def test_gpu_profiles_are_offered_only_where_there_are_such_gpus(site):
    assert "gpu" not in keys(site.for_user(snapshot=snapshot()))
    assert "gpu" not in keys(site.for_user(snapshot=snapshot(big="h100")))
    assert "gpu" in keys(site.for_user(snapshot=snapshot(big="a100")))


def test_gpu_profiles_are_offered_while_the_cluster_is_unknown(site):
    assert "gpu" in keys(site.for_user(snapshot=None))


def test_the_pages_data_hold_no_prologue_and_no_environment(site):
    shown = site.to_json(["team"])
    assert [p["key"] for p in shown if p["default"]] == ["team"]
    assert "module load" not in str(shown)
    assert "environment" not in shown[1]
    assert shown[0]["summary"] == "1 CPU, 2 GB, 8 h"
    assert shown[3]["choices"]["memory"] == {"min": GIB, "max": 64 * GIB}
    assert shown[3]["choices"]["partition"] == {"any": True}
    assert shown[2]["choices"]["gpu_model"] == {"values": ["a100", "l40"]}


# What a choice comes to


@pytest.mark.parametrize("nothing", [None, {}, {"profile": None}, {"profile": ""}])
def test_no_profile_means_the_sites_default(site, nothing):
    resolved = site.resolve(nothing, groups=["team"])
    assert resolved.profile.key == "team"
    assert resolved.options == {"profile": "team"}
    assert resolved.resources == Resources(cpus=2, partition="fat")
    assert resolved.environment == {"A": "b"}
    assert resolved.prologue == "module load python"


def test_who_may_not_use_the_default_gets_the_first_that_is_open(site):
    assert site.resolve(None).profile.key == "small"


def test_a_profile_of_another_group_is_refused_like_an_unknown_one(site):
    error = refusal(site, {"profile": "team"})
    assert error.field == "profile"
    assert "small, gpu, custom" in error.message
    assert "team" not in error.message


def test_every_choice_ends_up_in_the_resources(site):
    resources = custom(
        site, cpus=4, memory="8G", gpus=2, gpu_model="a100", time_limit="2h",
        partition="gpu", account="proj", qos="long", reservation="r1",
        constraint="ib&fast",
    )  # fmt: skip
    assert resources == Resources(
        cpus=4, memory=8 * GIB, gpus=2, gpu_model="a100",
        time_limit=timedelta(hours=2), partition="gpu", account="proj", qos="long",
        reservation="r1", constraint="ib&fast",
    )  # fmt: skip


def test_choices_are_stored_in_a_form_that_resolves_to_the_same(site):
    first = site.resolve({"profile": "custom", "memory": "8G", "time_limit": "2h"})
    assert first.options == {
        "profile": "custom", "memory": 8 * GIB, "time_limit": 7200,
    }  # fmt: skip
    assert site.resolve(first.options) == first


def test_no_gpu_means_no_gpu_model_either(site):
    resources = site.resolve({"profile": "gpu", "gpus": 0}).resources
    assert resources.gpus == 0
    assert resources.gpu_model is None


def test_gpus_take_the_partition_that_has_them(site):
    found = site.resolve({"profile": "gpu"}, snapshot=snapshot(a="l40", b="a100"))
    assert found.resources.partition == "b"
    named = site.resolve(
        {"profile": "custom", "gpus": 1, "partition": "x"}, snapshot=snapshot(b="a100")
    )
    assert named.resources.partition == "x"
    assert site.resolve({"profile": "small"}, snapshot=snapshot()).resources == (
        Resources(memory=2 * GB, time_limit=timedelta(hours=8))
    )


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("cpus", 17, "between 1 and 16"),
        ("cpus", 0, "between 1 and 16"),
        ("cpus", 10**400, "between 1 and 16"),
        ("cpus", "4", "must be a whole number between 1 and 16"),
        ("cpus", 2.0, "whole number"),
        ("cpus", True, "whole number"),
        ("cpus", math.nan, "whole number"),
        ("memory", "65G", "between 1.1 GB and 68.7 GB"),
        ("memory", 8, "between 1.1 GB and 68.7 GB"),
        ("memory", -1, "must be an amount such as"),
        ("memory", "lots", "must be an amount such as"),
        ("memory", math.inf, "whole number"),
        ("time_limit", "3d", "between 10 min and 2 d"),
        ("time_limit", "soon", "must be a time such as"),
        ("time_limit", 60, "between 10 min and 2 d"),
        ("partition", 3, "must be a name"),
        ("partition", ["gpu"], "one text or whole number"),
        ("partition", {"a": 1}, "one text or whole number"),
        ("partition", b"gpu", "one text or whole number"),
        ("gpu_model", "a100", "no GPU is asked"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(site, option, value, said):
    error = refusal(site, {"profile": "custom", option: value})
    assert error.field == option
    assert said in error.message


def test_a_name_outside_the_list_is_refused_with_the_list(site):
    error = refusal(site, {"profile": "gpu", "gpu_model": "h100"})
    assert error.message == "gpu_model: must be one of: a100, l40."


def test_what_a_profile_does_not_open_is_refused(site):
    error = refusal(site, {"profile": "gpu", "partition": "fat"})
    assert error.field == "partition"
    assert "may be chosen: gpus, gpu_model" in error.message
    error = refusal(site, {"profile": "small", "cpus": 1})
    assert "nothing can be chosen" in error.message


def test_an_unknown_option_is_refused_with_the_nearest_name(site):
    error = refusal(site, {"profile": "custom", "cpu": 1})
    assert error.field == "cpu"
    assert error.hint == "Did you mean cpus?"


def test_no_open_profile_is_told(read):
    closed = read("profiles:\n  a: {title: A, groups: [x]}\n")
    error = refusal(closed, {})
    assert "no profile is open to you" in error.message


# The file


def test_the_shipped_profiles_work_without_partitions_and_with():
    profiles = load_profiles(SHIPPED)
    default = profiles.resolve(None).resources
    assert default.cpus == 1
    assert default.memory == 2 * GB
    assert default.partition is None
    assert "gpu" not in keys(profiles.for_user(snapshot=snapshot()))
    gpu = profiles.resolve({"profile": "gpu"}, snapshot=snapshot(gpu="a100"))
    assert gpu.resources.partition == "gpu"
    assert custom(profiles, cpus=2, partition="cpu").cpus == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x: 1", "must hold one key, profiles."),
        ("- a", "must hold one key, profiles."),
        ("profiles: {}", "at least one profile"),
        ("profiles:\n  a: 3", "profiles.a must be a table"),
        ("profiles:\n  a: {}", "[profiles.a] title must be set."),
        ("profiles:\n  A: {title: x}", "[profiles.A] key: "),
        (
            "profiles:\n  a: {title: x, resource: {}}",
            "[profiles.a] resource is no setting. Did you mean resources?",
        ),
        (
            "profiles:\n  a: {title: x, resources: {cpu: 1}}",
            "[profiles.a.resources] cpu is no setting. Did you mean cpus?",
        ),
        (
            "profiles:\n  a: {title: x, resources: {memory: much}}",
            "[profiles.a.resources] memory = 'much': must be an amount",
        ),
        (
            "profiles:\n  a: {title: x, resources: {partition: 'a b'}}",
            "partition: must be a plain name",
        ),
        (
            "profiles:\n  a: {title: x, resources: {cpus: 9},"
            " choices: {cpus: {max: 4}}}",
            "resources.cpus: must be between 0 and 4.",
        ),
        (
            "profiles:\n  a: {title: x, choices: {memory: {min: 4G, max: 1G}}}",
            "memory: min must not be more than max",
        ),
        (
            "profiles:\n  a: {title: x, choices: {partition: ['-x']}}",
            "partition: must be a plain name",
        ),
        ("profiles:\n  a: {title: x}\n  a: {title: y}", "'a' is there twice"),
        (
            "profiles:\n  a: {title: x, default: true}\n  b: {title: x, default: true}",
            "only one may be the default",
        ),
        ("profiles: [", "is not valid YAML"),
        ("profiles: !!python/object/apply:os.system [id]", "is not valid YAML"),
    ],
)
def test_a_fault_in_the_file_is_named(read, text, said):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert said in str(caught.value)
    assert "profiles.yaml: " in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_profiles(tmp_path / "none.yaml")


def test_every_setting_is_in_the_reference():
    reference = SHIPPED.parents[1] / "docs" / "reference" / "profiles.md"
    text = reference.read_text()
    names = {*Profile.model_fields, *Asked.model_fields, *Choices.model_fields}
    missing = [name for name in names - {"key"} if f"`{name}`" not in text]
    assert not missing
