"""What users may pick, and what that comes to as a job.

``profiles.yaml`` holds the site's profiles; :func:`load_profiles` reads it.
:meth:`Profiles.resolve` is the one way from a user's options, whether a form or the
API sent them, to :class:`~spawners.batch.models.Resources`: a closed schema, in
which a profile says what may be chosen and within which bounds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from spawners.batch.errors import InvalidSpec
from spawners.batch.explain.amounts import resources_in_words
from spawners.batch.models import Resources
from spawners.batch.scheduler import ClusterSnapshot, Partition
from spawners.common.settings import ConfigError, Duration, Memory, Section, parse
from spawners.common.text import clean_line

from .choices import Choices, read_option

__all__ = ["Asked", "Choices", "Profile", "Profiles", "Resolved", "load_profiles"]


class Asked(Section):
    """What a profile asks for unless its user chooses otherwise.

    The fields are those of :class:`~spawners.batch.models.Resources`; ``memory``
    may be written ``"4G"``, ``time_limit`` ``"2h"``.
    """

    cpus: int = 1
    memory: Memory | None = None
    gpus: int = 0
    gpu_model: str | None = None
    nodes: int = 1
    time_limit: Duration | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    reservation: str | None = None
    constraint: str | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Asked:
        try:
            self.to_resources()
        except InvalidSpec as error:
            raise ValueError(str(error)) from error
        return self

    def to_resources(self) -> Resources:
        """Return the same as a checked value of the batch core."""
        return Resources(**dict(self))


class Profile(Section):
    """One thing that users may pick.

    Attributes:
        key: its name in the file, in stored choices and in the API.
        title, description: for people.
        icon, accent: hints to the page: the name of an icon, of a colour.
        default: True for the one that is used when none is named.
        groups: only members of one of these groups see it; empty is everybody.
            An administrator sees all.
        requires: ``"gpu"`` if it is offered only where the cluster has GPUs (for
            ``resources.gpu_model``, those).
        resources: what it asks for.  choices: what its users may choose.
        environment: variables for the server.
        prologue: shell lines that the job runs before the server.
    """

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    title: str = Field(min_length=1, max_length=80)
    description: str = Field(default="", max_length=400)
    icon: str = Field(default="", pattern=r"^[a-z0-9-]{0,40}$")
    accent: str = Field(default="", pattern=r"^[a-z0-9-]{0,40}$")
    default: bool = False
    groups: tuple[str, ...] = ()
    requires: Literal["gpu"] | None = None
    resources: Asked = Asked()
    choices: Choices = Choices()
    environment: dict[str, str] = Field(default_factory=dict)
    prologue: str = ""

    @model_validator(mode="after")
    def _defaults_are_within_bounds(self) -> Profile:
        problem = self.choices.problem_with(self.resources.to_resources())
        if problem:
            raise ValueError(problem)
        return self

    def is_open_to(self, groups: Collection[str], *, admin: bool = False) -> bool:
        """Tell whether a member of ``groups`` may use this profile."""
        return admin or not self.groups or not set(self.groups).isdisjoint(groups)

    def is_offered_on(self, snapshot: ClusterSnapshot | None) -> bool:
        """Tell whether the cluster has what this needs; unknown counts as yes."""
        if self.requires is None or snapshot is None:
            return True
        model = self.resources.gpu_model
        return any(_has_gpus(partition, model) for partition in snapshot.partitions)

    def to_json(self) -> dict[str, Any]:
        """Return what a page or a client may know: no prologue, no environment."""
        shown = self.model_dump(
            mode="json",
            include={"key", "title", "description", "icon", "accent", "requires"},
        )
        return {
            **shown,
            "default": self.default,
            "summary": resources_in_words(self.resources.to_resources()),
            "resources": self.resources.model_dump(mode="json", exclude_none=True),
            "choices": self.choices.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Resolved:
    """A user's choice, checked.

    Attributes:
        profile: what was picked.
        resources: what the job asks for.
        options: the choice in its canonical form, to be stored and offered again:
            ``profile`` and what was chosen; memory in bytes, times in seconds.
    """

    profile: Profile
    resources: Resources
    options: Mapping[str, str | int]

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables for the server."""
        return self.profile.environment

    @property
    def prologue(self) -> str:
        """Shell lines that the job runs before the server."""
        return self.profile.prologue


@dataclass(frozen=True, slots=True)
class Profiles:
    """The site's profiles, in the file's order. Iterable."""

    profiles: tuple[Profile, ...]

    def __iter__(self) -> Iterator[Profile]:
        return iter(self.profiles)

    def for_user(
        self,
        groups: Collection[str] = (),
        *,
        admin: bool = False,
        snapshot: ClusterSnapshot | None = None,
    ) -> list[Profile]:
        """Return what this user is offered now, in order."""
        return [
            profile
            for profile in self.profiles
            if profile.is_open_to(groups, admin=admin)
            and profile.is_offered_on(snapshot)
        ]

    def default_for(
        self,
        groups: Collection[str] = (),
        *,
        admin: bool = False,
        snapshot: ClusterSnapshot | None = None,
    ) -> Profile | None:
        """Return what is used when none is named: the site's, else the first."""
        offered = self.for_user(groups, admin=admin, snapshot=snapshot)
        marked = (profile for profile in offered if profile.default)
        return next(marked, offered[0] if offered else None)

    def resolve(
        self,
        options: object,
        *,
        groups: Collection[str] = (),
        admin: bool = False,
        snapshot: ClusterSnapshot | None = None,
    ) -> Resolved:
        """Return what a user's options come to.

        Args:
            options: ``{"profile": KEY, "cpus": 4, "memory": "8G", ...}`` as the API
                or :func:`~spawners.profiles.choices.options_from_form` gives it.
                ``None`` values and empty texts count as not given.
            groups: the user's groups.
            admin: whether the user is an administrator, to whom all is open.
            snapshot: the cluster, if known; used for what is offered, and to find
                the partition that has the GPUs if none was named.

        Raises:
            InvalidSpec: naming the field and saying what is allowed.
        """
        given = _checked_keys({} if options is None else options)
        profile = self._pick(given.pop("profile", None), groups, admin, snapshot)
        chosen = {
            name: read_option(profile.choices, name, value)
            for name, value in given.items()
        }
        resources = profile.resources.to_resources()
        if chosen.get("gpus") == 0 and "gpu_model" not in chosen:
            resources = replace(resources, gpu_model=None, gpus=0)
        resources = replace(resources, **chosen)
        if resources.partition is None and resources.gpus and snapshot is not None:
            found = _partition_with_gpus(snapshot, resources.gpu_model)
            resources = replace(resources, partition=found)
        canonical = {
            name: round(value.total_seconds()) if name == "time_limit" else value
            for name, value in chosen.items()
        }
        return Resolved(profile, resources, {"profile": profile.key, **canonical})

    def _pick(
        self,
        key: object,
        groups: Collection[str],
        admin: bool,  # noqa: FBT001 - private
        snapshot: ClusterSnapshot | None,
    ) -> Profile:
        offered = self.for_user(groups, admin=admin, snapshot=snapshot)
        if not offered:
            raise InvalidSpec(
                "profile",
                "no profile is open to you here.",
                hint="Ask your site's operators which group you need to be in.",
            )
        if key is None:
            default = self.default_for(groups, admin=admin, snapshot=snapshot)
            return default or offered[0]
        if isinstance(key, str):
            for profile in offered:
                if profile.key == key:
                    return profile
        known = ", ".join(profile.key for profile in offered)
        raise InvalidSpec("profile", f"must be one of {known}.")

    def to_json(
        self,
        groups: Collection[str] = (),
        *,
        admin: bool = False,
        snapshot: ClusterSnapshot | None = None,
    ) -> list[dict[str, Any]]:
        """Return what this user is offered, for the spawn page or the API."""
        default = self.default_for(groups, admin=admin, snapshot=snapshot)
        return [
            {**profile.to_json(), "default": profile is default}
            for profile in self.for_user(groups, admin=admin, snapshot=snapshot)
        ]


_OPTIONS = frozenset({"profile", *Choices.model_fields})


def _checked_keys(options: object) -> dict[str, Any]:
    """Return the options that have a value; unknown names are refused."""
    if not isinstance(options, Mapping):
        raise InvalidSpec("options", "must be an object of names and values.")
    if len(options) > 4 * len(_OPTIONS):
        raise InvalidSpec("options", "has too many names.")
    for name in options:
        if not isinstance(name, str) or name not in _OPTIONS:
            text = clean_line(str(name)[:100], 40)
            close = get_close_matches(text, _OPTIONS, n=1)
            hint = f"Did you mean {close[0]}?" if close else ""
            allowed = f"is no option. Known are: {', '.join(sorted(_OPTIONS))}."
            raise InvalidSpec(text or "options", allowed, hint=hint)
    return {n: v for n, v in options.items() if v is not None and v != ""}


def _has_gpus(partition: Partition, model: str | None) -> bool:
    return any(
        pool.total and (model is None or pool.model == model) for pool in partition.gpus
    )


def _partition_with_gpus(snapshot: ClusterSnapshot, model: str | None) -> str | None:
    """Return a partition for GPUs, or ``None`` where the default one has them."""
    default = snapshot.partition(None)
    if default is not None and default.up and _has_gpus(default, model):
        return None
    for partition in snapshot.partitions:
        if partition.up and _has_gpus(partition, model):
            return partition.name
    return None


def load_profiles(path: Path | str) -> Profiles:
    """Return the profiles of a ``profiles.yaml``.

    Raises:
        ConfigError: naming every fault by file, profile and key.
    """
    path = Path(path)
    return parse_profiles(_read_yaml(path), path)


def parse_profiles(data: object, path: Path) -> Profiles:
    """Return the profiles of data in the form of a ``profiles.yaml``.

    Args:
        data: ``{"profiles": {KEY: {...}, ...}}``.
        path: where it is from, for the words of a fault.

    Raises:
        ConfigError: naming every fault by profile and key.
    """
    if not isinstance(data, dict) or set(data) != {"profiles"}:
        raise ConfigError(path, ["must hold one key, profiles."])
    if not isinstance(data["profiles"], dict) or not data["profiles"]:
        raise ConfigError(path, ["profiles must name at least one profile."])
    profiles, problems = [], []
    for key, fields in data["profiles"].items():
        if not isinstance(fields, dict) or "key" in fields:
            problems.append(f"profiles.{key} must be a table of settings, without key.")
            continue
        try:
            profile = parse(
                {"key": key, **fields}, Profile, path, section=f"profiles.{key}"
            )
            profiles.append(profile)
        except ConfigError as error:
            problems.extend(error.problems)
    if sum(profile.default for profile in profiles) > 1:
        problems.append("profiles: only one may be the default.")
    if problems:
        raise ConfigError(path, problems)
    return Profiles(tuple(profiles))


class _Loader(yaml.SafeLoader):
    """YAML without the trap that the second of two equal keys wins silently."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - yaml's signature
    ) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is there twice", key.start_mark
                )
        return super().construct_mapping(node, deep=deep)


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}."]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(path, [f"is not valid YAML: {said}."]) from error
