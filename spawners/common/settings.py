"""Site settings: a TOML file's sections as frozen pydantic models.

A section is a subclass of :class:`Section`; :func:`load` reads one,
:func:`check_sections` refuses a file with sections that nobody reads. Every fault
is a :class:`ConfigError` that names file, key, the bad value (never a secret's)
and what is allowed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
)

from spawners.common.units import parse_duration, parse_memory


class ConfigError(Exception):
    """A settings file cannot be used; the text names file, key and allowed values.

    Attributes:
        path: the file.
        problems: one line per fault, each starting with the key.
    """

    def __init__(self, path: Path, problems: Collection[str]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{path}: {problem}" for problem in self.problems))


class Section(BaseModel):
    """A section of a settings file: frozen, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


_HOST = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}"
)

_HOST_PORT_HELP = 'must be "HOST:PORT", such as "127.0.0.1:8000" or "[::1]:8000".'


@dataclass(frozen=True, slots=True)
class HostPort:
    """A network address to listen on or to reach; IPv6 hosts without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_host_port(value: object) -> HostPort:
    """Return ``"host:8000"`` or ``"[::1]:8000"`` as its two parts; port 0 to 65535.

    Raises:
        ValueError: saying what is allowed.
    """
    if isinstance(value, HostPort):
        return value
    if isinstance(value, str) and len(value) <= 300:
        host, colon, port = value.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        if (
            colon
            and bracketed == (":" in host)
            and _HOST.fullmatch(host)
            and re.fullmatch(r"\d{1,5}", port, re.ASCII)
            and int(port) <= 65535
        ):
            return HostPort(host, int(port))
    raise ValueError(_HOST_PORT_HELP)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda span: span.total_seconds(), return_type=float),
]
"""A setting that is a time: ``"2h"``, ``"30min"``, or seconds."""

Memory = Annotated[int, BeforeValidator(parse_memory)]
"""A setting that is an amount, kept in bytes: ``"4 GB"``, or Slurm's ``"4G"``."""

Address = Annotated[
    HostPort, BeforeValidator(parse_host_port), PlainSerializer(str, return_type=str)
]
"""A setting that is ``"host:port"``."""

AnySection = TypeVar("AnySection", bound=BaseModel)


def load(path: Path | str, model: type[AnySection], *, section: str) -> AnySection:
    """Return one section of a TOML file, checked.

    Args:
        path: the file.
        model: the section's pydantic model, best a subclass of :class:`Section`.
        section: its name in the file, dotted if nested (``"services.storage"``).
            A section that is not there is as good as an empty one.

    Raises:
        ConfigError: the file cannot be read or a value cannot be used.
    """
    path = Path(path)
    return parse(_section_of(read_toml(path), section, path), model, path, section)


def parse(
    data: Mapping[str, Any], model: type[AnySection], path: Path, section: str = ""
) -> AnySection:
    """Return ``data``, which was read from ``path``, as a checked ``model``.

    Raises:
        ConfigError: naming every fault.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        problems = [_problem(dict(fault), model, section) for fault in error.errors()]
        raise ConfigError(path, problems) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return a whole TOML file.

    Raises:
        ConfigError: it is not there, not readable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}."]) from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and others
        raise ConfigError(path, [f"is not valid TOML: {error}."]) from error


def check_sections(path: Path | str, known: Collection[str]) -> None:
    """Refuse a file with top-level sections or keys that nobody reads.

    Raises:
        ConfigError: with the nearest name that is known.
    """
    path = Path(path)
    unknown = [name for name in read_toml(path) if name not in known]
    if unknown:
        raise ConfigError(
            path,
            [
                f"[{_shown(name)[1:-1]}] is no section.{_suggest(name, sorted(known))}"
                for name in unknown
            ],
        )


def _section_of(data: dict[str, Any], section: str, path: Path) -> dict[str, Any]:
    for name in section.split(".") if section else []:
        inner = data.get(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(path, [f"[{section}] must be a section, not a value."])
        data = inner
    return data


_SECRET = re.compile(r"secret|password|passwd|token|credential|(?:^|_)key$", re.I)


def _problem(fault: dict[str, Any], model: type[BaseModel], section: str) -> str:
    """Return one line about one of pydantic's faults."""
    location = tuple(str(part) for part in fault["loc"] if not _is_tag(str(part)))
    *parents, key = location or ("",)
    where = ".".join(filter(None, [section, *parents]))
    name = " ".join(filter(None, [f"[{where}]" if where else "", key]))
    if fault["type"] == "extra_forbidden":
        owner = _model_at(model, fault["loc"][:-1])
        fields = sorted(_names(owner)) if owner else []
        return f"{name} is no setting.{_suggest(key, fields)}"
    if fault["type"] == "missing":
        return f"{name} must be set."
    text = fault["msg"].removeprefix("Value error, ").rstrip(".")
    text = re.sub(r"^(?:Input|Value) should", "must", text)
    if any(map(_SECRET.search, location)) or fault["type"].startswith("secret"):
        return f"{name}: {text}."
    return f"{name} = {_shown(fault['input'])}: {text}."


def _is_tag(part: str) -> bool:
    """Tell pydantic's own steps in a path ("function-before[...]") from keys."""
    return "[" in part or "(" in part


def _model_at(model: type[BaseModel], location: tuple[Any, ...]) -> Any:
    """Return the model that a path of keys leads to, or ``None``."""
    found: type[BaseModel] | None = model
    for part in location:
        if found is None or not isinstance(part, str) or _is_tag(part):
            continue
        by_name = dict(_names(found))
        found = next(_models_in(by_name.get(part)), None) if part in by_name else found
    return found


def _names(model: type[BaseModel]) -> dict[str, Any]:
    return {f.alias or n: f.annotation for n, f in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _suggest(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f" Did you mean {close[0]}?"
    return f" Known are: {', '.join(known)}." if known else ""


def _shown(value: object, limit: int = 60) -> str:
    if isinstance(value, Mapping):
        return "a table"
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
