"""Hypothesis on every parser of the table: bounded, the same inputs each time.

The long form, guided by what an input reaches, is ``python -m rigs.fuzz.long``.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from rigs.fuzz.inputs import inputs
from rigs.fuzz.targets import SLOWEST_SECONDS, TARGETS, Target

EXAMPLES = 60


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_it_takes_or_refuses_whatever_comes(target: Target):
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(target.seeds))
    def whatever(data: bytes) -> None:
        begun = time.process_time()
        target.try_one(data)
        assert time.process_time() - begun < SLOWEST_SECONDS

    whatever()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_deep_long_or_binary_is_too_much(target: Target):
    for data in (
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"<a>" * 100_000,
        b"9" * 100_000,
        b'{"a": ' + b"9" * 100_000 + b"}",
        b"a = " + b"9" * 100_000,
        b"a = " + b"[" * 100_000,
        b"a" * 1_000_000,
        b"\0" * 100_000,
        b"\xff" * 100_000,
        b"\n" * 100_000,
        b"|" * 100_000,
        b"a[1-9]" * 10_000,
        "\ud800".encode("utf-8", "surrogatepass"),
        b'{"a": "\\ud800"}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
    ):
        begun = time.process_time()
        target.try_one(data)
        assert time.process_time() - begun < SLOWEST_SECONDS, data[:20]


def test_the_table_is_whole():
    names = [target.name for target in TARGETS]
    assert len(names) == len(set(names))
    assert len(names) > 60
    assert all(target.seeds for target in TARGETS)
