"""A job's own output must not keep the hub busy, whatever it says."""

import re
import time

import pytest

from spawners.batch.explain import ends as endings
from spawners.batch.explain import reasons
from spawners.batch.rendezvous import messages as reports
from spawners.common import text as phrases

PATTERNS = {
    f"{module.__name__}.{name}": value
    for module in (endings, phrases, reasons, reports)
    for name, value in vars(module).items()
    if isinstance(value, re.Pattern)
}
WORDS = (
    "x", "a-", "a_", " ", "token", "token ", "token= ", "://a", "://a:", "Bearer ",
    "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "\x1b[0", "\x1b]", "authorization: ",
    "/", "/a", "'", '"', "Permission denied ", "No module named ", "bash: ", "killed ",
    "line 1: ", "exceeded memory limit ", "12 ", "(12 ", "No space left ", "\r", ": ",
)  # fmt: skip


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_takes_long_on_any_log(name):
    for word in WORDS:
        for text in (word * (32_000 // len(word)), "token: /" + word * 4000 + "!"):
            began = time.process_time()
            PATTERNS[name].sub("", text)
            assert time.process_time() - began < 0.5, repr(word)


def test_secrets_are_hidden_with_what_stands_before_their_name():
    shown = phrases.clean_log("my.site_api-token = s3cret and JUPYTERHUB_API_TOKEN=abc")
    assert "s3cret" not in shown
    assert "abc" not in shown
