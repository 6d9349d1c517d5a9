"""From batchspawner's settings to a job."""

from __future__ import annotations

import string
from datetime import timedelta

import pytest
from batchspawner import (
    GridengineSpawner,
    LsfSpawner,
    PBSSpawner,
    SlurmSpawner,
    TorqueSpawner,
)
from hypothesis import given
from hypothesis import strategies as st

from spawners.batch.errors import InvalidSpec
from spawners.batch.models import Resources
from spawners.notebooks.script import (
    format_runtime,
    options_from,
    parse_memory,
    parse_runtime,
    render,
    resources_from,
    variables,
)

GIB = 1024**3
REQ = dict.fromkeys(
    (
        *("queue", "host", "memory", "nprocs", "ngpus", "runtime", "partition"),
        *("account", "options", "prologue", "epilogue", "username", "homedir"),
        *("keepvars", "keepvars_extra", "qos", "reservation", "gres"),
        *("constraint", "cluster", "srun"),
    ),
    "",
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 * GIB), ("4gb", 4 * GIB), ("512", 512 * 1024**2), ("1T", 1024 * GIB)],
)
def test_memory_means_what_sbatch_means(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("30", timedelta(minutes=30)),
        ("30:15", timedelta(minutes=30, seconds=15)),
        ("2:00:00", timedelta(hours=2)),
        ("1-12", timedelta(hours=36)),
        ("1-12:30", timedelta(hours=36, minutes=30)),
        ("2-00:00:01", timedelta(days=2, seconds=1)),
    ],
)
def test_time_means_what_sbatch_means(text: str, limit: timedelta) -> None:
    assert parse_runtime(text) == limit
    assert parse_runtime(format_runtime(limit)) == limit


@given(st.text(max_size=40))
def test_no_text_breaks_the_parsers(text: str) -> None:
    for parse in (parse_memory, parse_runtime):
        try:
            parse(text)
        except InvalidSpec as error:
            assert error.field.startswith("req_")


def test_all_settings_become_resources() -> None:
    req = REQ | {
        "memory": "4G",
        "nprocs": "2",
        "runtime": "1:00:00",
        "partition": "gpu",
        "account": "proj",
        "gres": "gpu:a100:2",
    }
    assert resources_from(req) == Resources(
        cpus=2,
        memory=4 * GIB,
        gpus=2,
        gpu_model="a100",
        time_limit=timedelta(hours=1),
        partition="gpu",
        account="proj",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory", "4G\n#SBATCH --uid=0"),
        ("nprocs", "2; id"),
        ("ngpus", "-1"),
        ("runtime", "$(id)"),
        ("partition", "-p"),
        ("account", "a b"),
        ("gres", "license:matlab"),
    ],
)
def test_malformed_settings_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidSpec):
        resources_from(REQ | {name: value})


def test_an_operators_options_become_words_of_their_own() -> None:
    options = options_from("--exclusive --comment='two words'")
    assert options == ("--exclusive", "--comment=two words")
    for reserved in ("-Jx", "--job-name=x", "--array=1-9", "--parsable", "'"):
        with pytest.raises(InvalidSpec):
            options_from(reserved)


def test_a_site_script_gets_what_was_really_asked_for() -> None:
    asked = Resources(cpus=3, memory=GIB, gpus=1, partition="gpu")
    values = variables(REQ | {"nprocs": "1", "partition": "cpu"}, asked)
    text = render(
        "#!/bin/sh\n#SBATCH -p {partition} -n {nprocs} {memory} {gres}\n{cmd}\n",
        values,
        "the agent",
    )
    assert text == "#!/bin/sh\n#SBATCH -p gpu -n 3 1024M gpu:1\nthe agent\n"


@pytest.mark.parametrize(
    "kind",
    [SlurmSpawner, TorqueSpawner, PBSSpawner, GridengineSpawner, LsfSpawner],
    ids=lambda kind: kind.__name__,
)
def test_the_scripts_that_batchspawner_ships_still_render(kind: type) -> None:
    template = kind.batch_script.default_value
    asked = Resources(cpus=5, memory=GIB, partition="special")
    req = REQ | {"homedir": "/home/ann", "prologue": "module load x", "queue": "q"}
    text = render(template, variables(req, asked), "the agent")
    assert text.startswith("#!/bin")
    assert "the agent" in text.splitlines()
    if kind is not LsfSpawner:  # its script has no place for it
        assert "module load x" in text


@pytest.mark.parametrize(
    "template",
    ["{unknown} {cmd}", "{{ unknown }} {{ cmd }}", "nothing", "{cmd", "{% x %}{{cmd}}"],
)
def test_a_template_that_cannot_work_is_refused(template: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        render(template, variables(REQ, Resources()), "the agent")
    assert caught.value.field == "batch_script"


@given(st.text(alphabet=string.printable, max_size=60))
def test_values_are_never_templates(value: str) -> None:
    command = "agent {x} {{ y }}"
    text = render("{{ prologue }}\n{{ cmd }}", {"prologue": value}, command)
    assert text.lstrip("\n").rstrip("\n").endswith(command)
    assert value.strip("\n") in text
