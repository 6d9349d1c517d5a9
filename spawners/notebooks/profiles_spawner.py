"""Notebook servers as batch jobs, with a choice of profiles: for JupyterHub.

The profiles are Landbridge's own or those of an existing ``wrapspawner``
configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import wrapspawner
from batchspawner import BatchSpawnerBase
from traitlets import Callable, Dict, Instance, List, Tuple, Type, Unicode, Union

from spawners.batch.errors import InvalidSpec
from spawners.profiles.profiles import Profiles

from .options import LaunchPlan
from .script import resources_from
from .spawner import BatchJobSpawner


class ProfilesSpawner(BatchJobSpawner, wrapspawner.ProfilesSpawner):  # type: ignore[misc]  # traits of both
    """A batch server whose user picks one of the site's profiles.

    There is no child spawner: what a ``wrapspawner`` profile configures is set on
    this very object, from the configuration as it is now and never from a database.
    A profile that is unknown, or whose class is no batch spawner, is refused; nothing
    ever falls back to a process on the hub's machine.
    """

    profiles = Union(
        [
            Instance(Profiles),
            List(Tuple(Unicode(), Unicode(), Type(klass=BatchSpawnerBase), Dict())),
        ],
        default_value=None,
        allow_none=True,
        help="What users may pick: Landbridge's profiles, or wrapspawner's list of "
        "(display, key, batch spawner class, settings).",
    ).tag(config=True)
    options_form = Union(
        [Unicode(), Callable()], help="The form; default: the profiles as a list."
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        self._before: dict[str, Any] = {}
        super().__init__(**kwargs)

    def plan(self, options: object) -> LaunchPlan:
        """Return what to start; a wrapspawner profile's settings are applied first.

        Raises:
            InvalidSpec: naming the option and what is allowed.
        """
        if not isinstance(self.profiles, list):
            plain: LaunchPlan = super().plan(options)
            return plain
        display, key, _, settings = self._pick({} if options is None else options)
        for name, value in self._before.items():
            setattr(self, name, value)
        self._before = {name: getattr(self, name) for name in settings}
        for name, value in settings.items():
            setattr(self, name, value)
        return LaunchPlan(
            resources_from(self._req()), {"profile": key}, profile=key, title=display
        )

    def offers(self) -> list[tuple[str, str]]:
        """Return key and name of what this user may pick."""
        if not isinstance(self.profiles, list):
            offered: list[tuple[str, str]] = super().offers()
            return offered
        return [(key, display) for display, key, *_ in self.profiles]

    def _pick(self, options: object) -> tuple[str, str, type, Mapping[str, Any]]:
        keys = [key for _, key, *_ in self.profiles]
        if not isinstance(options, Mapping) or set(options) - {"profile"}:
            raise InvalidSpec("options", "must be an object with nothing but profile.")
        wanted = options.get("profile") or next(iter(keys), None)
        for profile in self.profiles:
            if profile[1] == wanted:
                unknown = [n for n in profile[3] if not self.has_trait(n)]
                if unknown:
                    raise InvalidSpec("profile", f"{unknown[0]} is no setting of it.")
                picked: tuple[str, str, type, Mapping[str, Any]] = profile
                return picked
        raise InvalidSpec("profile", f"must be one of {', '.join(keys)}.")

    def options_from_form(self, formdata: dict[str, Any]) -> dict[str, object]:
        """Return the form's fields as options, to be checked at the start."""
        options: dict[str, object] = self._read_form(formdata)
        return options

    def _options_form_default(self) -> Any:
        return self._default_options_form()

    def construct_child(self) -> None:
        """There is no child; wrapspawner would make one that runs on the hub."""

    def load_child_class(self, state: Mapping[str, Any]) -> None:
        """There is no child to find the class of."""

    def get_state(self) -> dict[str, Any]:
        """Return the job to find again, and none of a child's settings."""
        state = super().get_state()
        for name in ("child_conf", "child_state", "profile"):
            state.pop(name, None)
        return state
