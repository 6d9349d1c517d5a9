"""Fixtures of the batch core's tests."""

from __future__ import annotations

from rigs.batch.fixtures import (
    deadline,
    fake,
    jobs,
    kinds,
    new_spec,
    open_jobs,
    quick,
    store_url,
    submit,
)
