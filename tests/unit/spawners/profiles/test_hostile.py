"""Hostile options: B01 to B05 of the bad-input matrix."""

import math
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.checkout import CHECKOUT
from spawners.batch.errors import InvalidSpec
from spawners.profiles.choices import Choices, options_from_form
from spawners.profiles.profiles import Profiles, load_profiles

SHIPPED = CHECKOUT / "config" / "profiles.yaml"


@cache
def shipped() -> Profiles:
    return load_profiles(SHIPPED)


@pytest.fixture
def site():
    return shipped()


def refusal(site: Profiles, options: object) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        site.resolve(options)
    return caught.value


HOSTILE = [
    "gpu\n#SBATCH --uid=root",
    "gpu\r\nx",
    "#SBATCH --wrap=id",
    "--uid=root",
    "-x",
    "gpu'; id; '",
    'gpu"',
    "gpu`id`",
    "$(id)",
    "${HOME}",
    "{{7*7}}",
    "{{ cycler.__init__.__globals__ }}",
    "{cmd}",
    "%j",
    "{% raw %}",
    "a b",
    "a,b",
    "../../etc",
    "a/b",
    "a\\b",
    "gpu\x00",
    "gpu\x1b[31m",
    "\u0261pu",
    "\uff47\uff50\uff55",
    "gpu\u202e",
    "\ufeffgpu",
    "gpu\u0301",
    "٣",
    "x" * 201,
    "x" * 1_000_000,
    "<script>alert(1)</script>",
    "a=b",
    "a;b",
    "a|b\n",
    "a>b",
    "~root",
    "*",
    "!",
    "@",
]
WORDS = ["partition", "account", "qos", "reservation", "gpu_model"]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
@pytest.mark.parametrize("option", sorted(["profile", *Choices.model_fields]))
def test_hostile_text_is_refused_naming_the_field(site, option, text):
    if option == "constraint" and text in ("a,b", "a=b"):
        text += "'"
    options = {"profile": "custom", "gpus": 1, option: text}
    error = refusal(site, options)
    assert error.field == option
    assert len(str(error)) < 500
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        True,
        False,
        1.5,
        [],
        ["a"],
        {},
        {"a": {}},
        (),
        b"x",
        NotImplemented,
    ],
    ids=repr,
)
@pytest.mark.parametrize("option", sorted(["profile", *Choices.model_fields]))
def test_odd_types_are_refused_naming_the_field(site, option, value):
    error = refusal(site, {"profile": "custom", "gpus": 1, option: value})
    assert error.field == option


@pytest.mark.parametrize(
    "options",
    ["x", 3, [], [("profile", "small")], {3: 4}, {"x": 1}, {"cmd": "id"},
     {"profile\n": "small"}, {"__class__": 1}, {"environment": {"A": "b"}},
     {"prologue": "id"}, {"options": "--uid=0"}, {"array_size": 9}, {"nodes": 9},
     {str(n): n for n in range(10_000)}, {"x" * 1_000_000: 1}],
    ids=lambda options: repr(options)[:30],
)  # fmt: skip
def test_whatever_else_is_refused(site, options):
    error = refusal(site, options)
    assert len(str(error)) < 500
    assert str(error).isprintable()


SANE = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@+-&|*()[],"
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["profile", *Choices.model_fields]) | st.text(), ANYTHING
    )
)
def test_any_json_is_resolved_to_sane_values_or_refused(options):
    profiles = shipped()
    try:
        resources = profiles.resolve(options).resources
    except InvalidSpec as error:
        assert error.field
        return
    for name in (*WORDS, "constraint"):
        assert set(getattr(resources, name) or "") <= SANE


@given(st.sampled_from(WORDS), st.text(st.characters(codec="ascii"), min_size=1))
def test_a_name_that_passes_is_a_plain_name(option, text):
    profiles = shipped()
    options = {"profile": "custom", "gpus": 1, option: text}
    try:
        resources = profiles.resolve(options).resources
    except InvalidSpec as error:
        assert error.field == option
        return
    assert getattr(resources, option) == text
    assert set(text) <= SANE
    assert text[0] not in "-#"


# The form


def test_a_form_gives_the_same_options_as_the_api(site):
    form = {
        "_xsrf": ["abc"],
        "profile": ["custom"],
        "cpus": ["4"],
        "memory": [" 8G "],
        "time_limit": ["2h"],
        "partition": [""],
        "gpus": [],
    }
    options = options_from_form(form)
    assert options == {
        "profile": "custom", "cpus": 4, "memory": "8G", "time_limit": "2h",
    }  # fmt: skip
    assert site.resolve(options).resources.cpus == 4


@pytest.mark.parametrize("text", ["4.0", "-1", "٣", "4\n5", "1" * 7, "0x4", "1e3"])
def test_a_form_number_that_is_none_is_refused_like_the_apis(site, text):
    form = {"profile": ["custom"], "cpus": [text]}
    assert refusal(site, options_from_form(form)).field == "cpus"


@pytest.mark.parametrize(
    "form",
    [
        {"cpus": ["1", "2"]},
        {"cpus": "12"},
        {"x_file": [{"body": b"", "filename": "a"}]},
    ],
)
def test_a_field_that_came_twice_or_is_a_file_is_refused(form):
    with pytest.raises(InvalidSpec):
        options_from_form(form)
