import json
import time
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.checkout import CHECKOUT
from spawners.batch.explain.amounts import resources_in_words
from spawners.batch.models import Resources
from spawners.common.text import (
    LOG_LIMIT,
    clean_line,
    clean_log,
    duration_in_words,
    moment_in_words,
    size_in_words,
)

NOW = datetime(2026, 11, 24, 14, 0).astimezone()


# Amounts


SIZES = json.loads((CHECKOUT / "tests/unit/spawners/common/sizes.json").read_text())


@pytest.mark.parametrize(
    ("rounding", "size", "words"),
    [(rounding, *case) for rounding, cases in SIZES.items() for case in cases],
)
def test_sizes_are_said_as_the_panels_say_them(rounding, size, words):
    assert size_in_words(size, rounding) == words


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(hours=2, minutes=15), "2 h 15 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(days=3, minutes=5), "3 d"),
        (timedelta(seconds=42), "42 s"),
        (timedelta(0), "0 s"),
        (timedelta(seconds=-5), "0 s"),
    ],
)
def test_durations_are_said_in_their_two_largest_units(duration, words):
    assert duration_in_words(duration) == words


def test_a_moment_names_its_day_only_when_it_is_not_today():
    assert moment_in_words(NOW + timedelta(minutes=20), NOW) == "14:20"
    assert moment_in_words(NOW + timedelta(days=1), NOW) == "tomorrow 14:00"
    assert moment_in_words(NOW + timedelta(days=2), NOW) == "Thu 26 Nov 14:00"


def test_resources_are_said_in_one_line():
    asked = Resources(
        cpus=4, memory=16 * 1000**3, gpus=1, gpu_model="a100", nodes=2,
        time_limit=timedelta(hours=2),
    )  # fmt: skip
    words = "2 nodes, 4 CPUs per node, 16 GB, 1 GPU (a100), 2 h"
    assert resources_in_words(asked) == words


# Foreign text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("10%\r50%\r100%\ndone\r\n", "100%\ndone"),
        ("bell\x07 nul\x00", "bell nul"),
        ("right\u202eleft", "rightleft"),
        ("http://n1:8888/lab?token=abcdef0123456789", "http://n1:8888/lab?token=[hidden]"),
        ("JUPYTERHUB_API_TOKEN=abc123", "JUPYTERHUB_API_TOKEN=[hidden]"),
        ("{'Authorization': 'token abc123'}", "{'Authorization': '[hidden]'}"),
        ("Authorization: Bearer abc.def", "Authorization: [hidden]"),
        ("postgresql://u:pw@host/db", "postgresql://u:[hidden]@host/db"),
        ('"password": "hunter2"', '"password": "[hidden]"'),
        ("AKIAABCDEFGHIJKLMNOP", "[hidden]"),
        ("-----BEGIN PRIVATE KEY-----\na\n-----END PRIVATE KEY-----", "[hidden]"),
        ("max_tokens=512", "max_tokens=512"),
    ],
)  # fmt: skip
def test_a_log_is_made_fit_to_show(raw, shown):
    assert clean_log(raw) == shown


def test_a_long_log_keeps_its_end_in_whole_lines():
    log = clean_log("".join(f"line {n}\n" for n in range(10_000)))
    assert log.endswith("line 9999")
    assert log.startswith("line ")
    assert len(log.encode()) <= LOG_LIMIT


def test_a_megabyte_on_one_line_is_cut():
    assert len(clean_log("é" * 1_000_000).encode()) <= LOG_LIMIT


@given(st.text())
def test_cleaned_text_never_holds_control_characters(text):
    assert clean_line(text).isprintable() or not clean_line(text).isascii()
    assert not set(clean_log(text)) & set(map(chr, [*range(9), *range(11, 32), 127]))


@pytest.mark.parametrize(
    "unit",
    ["a", "a-", "token", "\x1b]", "\x1b[0", "-----BEGIN A", "://a:", "bearer ", "key "],
)
def test_no_log_takes_long_to_clean(unit):
    started = time.process_time()
    clean_log(unit * (1_000_000 // len(unit)))
    assert time.process_time() - started < 1
