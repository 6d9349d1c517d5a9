"""What a profile lets its users choose: bounds, lists, and the parsing of values.

Every value from a user passes :func:`read_option`, whichever way it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from spawners.batch.errors import InvalidSpec
from spawners.batch.models import Resources
from spawners.common.settings import Duration, Memory, Section
from spawners.common.text import duration_in_words, size_in_words
from spawners.common.units import parse_duration, parse_memory

# Longer than anything that a scheduler names.
_TEXT_LIMIT = 200


class Count(Section):
    """Bounds of a number, both included."""

    min: int = Field(default=0, ge=0)
    max: int = Field(ge=0)


class Amount(Section):
    """Bounds of an amount of memory, both included."""

    min: Memory = 256 * 1000**2
    max: Memory


class Span(Section):
    """Bounds of a time, both included."""

    min: Duration = timedelta(minutes=1)
    max: Duration


Words = Literal["any"] | tuple[str, ...]
"""``"any"`` plain name, or a list of those that are allowed."""


class Choices(Section):
    """What may be chosen; what is not named may not.

    Attributes:
        cpus, gpus: whole numbers, per node.  memory: per node.
        time_limit: how long the job may run.
        gpu_model, partition, account, qos, reservation, constraint: a list of
            allowed names, or ``any`` for whatever the scheduler accepts.
    """

    cpus: Count | None = None
    memory: Amount | None = None
    gpus: Count | None = None
    gpu_model: Words | None = None
    time_limit: Span | None = None
    partition: Words | None = None
    account: Words | None = None
    qos: Words | None = None
    reservation: Words | None = None
    constraint: Words | None = None

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Choices:
        for name, choice in self:
            if isinstance(choice, Count | Amount | Span):
                low: Any = choice.min
                if low > choice.max:
                    raise ValueError(f"{name}: min must not be more than max")
            elif isinstance(choice, tuple):
                try:
                    for word in choice:
                        _check_word(name, word)
                except InvalidSpec as error:
                    raise ValueError(str(error)) from error
        return self

    def problem_with(self, resources: Resources) -> str | None:
        """Tell which default of a profile its own users might not choose, if any."""
        for name, choice in self:
            value = getattr(resources, name)
            if choice is None or value is None:
                continue
            try:
                _check_bounds(name, value, choice)
            except InvalidSpec as error:
                return f"resources.{error}"
        return None

    def to_json(self) -> dict[str, Any]:
        """Return per choice ``{"min", "max"}``, ``{"values"}`` or ``{"any": true}``.

        Memory is in bytes, times in seconds.
        """
        shown: dict[str, Any] = {}
        for name, choice in self:
            if isinstance(choice, Section):
                shown[name] = choice.model_dump(mode="json")
            elif choice == "any":
                shown[name] = {"any": True}
            elif choice is not None:
                shown[name] = {"values": list(choice)}
        return shown


def read_option(choices: Choices, name: str, value: object) -> Any:
    """Return one option of a user's as :class:`Resources` wants it.

    Raises:
        InvalidSpec: it may not be chosen, is malformed or out of bounds.
    """
    choice = getattr(choices, name)
    if choice is None:
        allowed = ", ".join(key for key, other in choices if other is not None)
        what = f"may be chosen: {allowed}" if allowed else "can be chosen in it"
        raise InvalidSpec(
            name,
            "may not be chosen in this profile; "
            + (f"these {what}." if allowed else f"nothing {what}."),
        )
    _check_shape(name, value)
    parsed = _read(name, value, choice)
    _check_bounds(name, parsed, choice)
    return parsed


def _check_shape(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidSpec(name, "must be one text or whole number.")
    if isinstance(value, str) and (
        len(value) > _TEXT_LIMIT or not (value.isascii() and value.isprintable())
    ):
        raise InvalidSpec(
            name, f"must be one line of at most {_TEXT_LIMIT} plain characters."
        )


def _read(name: str, value: object, choice: object) -> Any:
    if isinstance(choice, Count):
        if not isinstance(value, int):
            raise InvalidSpec(name, f"must be a whole number{_between(choice)}.")
        return value
    if isinstance(choice, Amount | Span):
        parser = parse_memory if isinstance(choice, Amount) else parse_duration
        try:
            return parser(value)
        except ValueError as error:
            raise InvalidSpec(name, str(error)) from error
    if not isinstance(value, str):
        raise InvalidSpec(name, "must be a name.")
    return value


def _check_bounds(name: str, value: Any, choice: object) -> None:
    if isinstance(choice, Count | Amount | Span):
        low: Any = choice.min
        if not low <= value <= choice.max:
            raise InvalidSpec(name, f"must be{_between(choice)}.")
    elif isinstance(choice, tuple):
        if value not in choice:
            allowed = ", ".join(choice) or "none at all"
            raise InvalidSpec(name, f"must be one of: {allowed}.")
    else:
        _check_word(name, value)


def _between(choice: Count | Amount | Span) -> str:
    if isinstance(choice, Count):
        return f" between {choice.min} and {choice.max}"
    if isinstance(choice, Amount):
        low, high = size_in_words(choice.min, "up"), size_in_words(choice.max, "down")
    else:
        low, high = duration_in_words(choice.min), duration_in_words(choice.max)
    return f" between {low} and {high}"


def _check_word(name: str, value: object) -> None:
    """Let the batch core's own rule for this field decide."""
    fields: dict[str, Any] = {name: value}
    Resources(**fields, gpus=1)


def options_from_form(form: Mapping[str, Sequence[object]]) -> dict[str, object]:
    """Return a form's options, for :meth:`.profiles.Profiles.resolve` to check.

    Args:
        form: each field with its list of values, as JupyterHub's
            ``options_from_form`` gets it.

    Returns:
        Fields that were filled in; whole numbers of ``cpus`` and ``gpus`` as such.

    Raises:
        InvalidSpec: a field came twice.
    """
    options: dict[str, object] = {}
    for name, values in form.items():
        if name == "_xsrf":
            continue
        if isinstance(values, str) or len(values) > 1:
            raise InvalidSpec(name[:40], "must have one value.")
        value = values[0].strip() if values and isinstance(values[0], str) else None
        if values and value is None:
            raise InvalidSpec(name[:40], "must be a text.")
        if not value:
            continue
        whole = name in ("cpus", "gpus") and re.fullmatch(r"[0-9]{1,6}", value)
        options[name] = int(value) if whole else value
    return options
