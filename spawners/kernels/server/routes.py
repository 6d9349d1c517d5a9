"""REST routes of kernels in jobs, under ``landbridge/kernels/`` of the server.

``GET options``, ``PUT choices/ID``, ``GET ID``, ``POST ID/cancel``, ``PUT ID/keep``.
Errors are ``{"error": {"code", "message", "field"?, "hint"?}}``. Asking does not
count as activity: an open page keeps no idle server alive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any  # JSON, and jupyter_server's own signatures

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.services.kernels.handlers import KernelActionHandler
from jupyter_server.utils import url_path_join
from tornado import web

from spawners.batch.errors import InvalidSpec
from spawners.batch.explain.amounts import resources_in_words
from spawners.common.text import clean_line

from ..errors import KernelJobError
from .cluster import SiteOffer
from .kernel import LandbridgeServerKernelManager
from .manager import LandbridgeMappingKernelManager
from .views import kernel_view, options_view

KERNEL_ID = r"(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)"
_MOST_BYTES = 16_384


class Refused(web.HTTPError):
    """What is asked cannot be done; the words are for the user."""

    def __init__(
        self, status: int, code: str, message: str, *, field: str = "", hint: str = ""
    ) -> None:
        super().__init__(status)
        self.told = {"code": code, "message": message}
        if field:
            self.told["field"] = field
        if hint:
            self.told["hint"] = hint


class JobsApiHandler(APIHandler):
    """What all routes share."""

    auth_resource = "kernels"
    _track_activity = False

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer in the routes' one shape."""
        error = kwargs.get("exc_info", (None, None))[1]
        told = {"code": "error", "message": self._reason}
        if isinstance(error, Refused):
            told = error.told
        elif isinstance(error, web.HTTPError) and error.log_message:
            told["message"] = clean_line(error.log_message, 300)
        self.finish(json.dumps({"error": told}))

    def body(self, allowed: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
        """Return the request's object, whose names and types are all known.

        Raises:
            Refused: it is no such object.
        """
        if len(self.request.body) > _MOST_BYTES:
            raise Refused(413, "too_large", "The request is too large.")
        try:
            data = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            raise Refused(400, "not_json", "The request must be JSON.") from None
        if not isinstance(data, dict):
            raise Refused(400, "not_an_object", "The request must be an object.")
        for name, value in data.items():
            if name not in allowed:
                known = ", ".join(allowed)
                raise Refused(
                    400, "unknown", f"Known names: {known}.", field=clean_line(name, 40)
                )
            kind = allowed[name]
            wrong = isinstance(value, bool) and kind is not bool
            if wrong or not isinstance(value, kind):
                raise Refused(400, "wrong_type", "has the wrong type.", field=name)
        return data


class KernelHandlerBase(JobsApiHandler):
    """Routes that know the kernels."""

    def initialize(self, kernels: LandbridgeMappingKernelManager) -> None:
        """Keep what the server has."""
        self.kernels = kernels

    @property
    def offer(self) -> SiteOffer:
        """What may be had."""
        offer: SiteOffer = self.settings["landbridge_offer"]
        return offer

    def kernel(self, kernel_id: str) -> LandbridgeServerKernelManager:
        """Return a kernel of ours.

        Raises:
            Refused: there is none of that id.
        """
        if kernel_id not in self.kernels:
            raise Refused(404, "no_kernel", "There is no such kernel.")
        found = self.kernels.get_kernel(kernel_id)
        if not isinstance(found, LandbridgeServerKernelManager):
            raise Refused(404, "no_kernel", "This kernel is none of ours.")
        return found

    def job(self, kernel_id: str) -> LandbridgeServerKernelManager:
        """Return a kernel in a job.

        Raises:
            Refused: there is none of that id.
        """
        kernel = self.kernel(kernel_id)
        if not kernel.in_job:
            raise Refused(409, "local", "This kernel runs beside the server.")
        return kernel


class OptionsHandler(KernelHandlerBase):
    """``GET options``: what the dialog offers, as last read."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with it."""
        await self.offer.refresh()
        limits = await self.offer.limits()
        view = options_view(
            self.offer.snapshot, limits, self.offer.profiles(), self.offer.dialog()
        )
        self.finish(json.dumps(view))


_ONE = (str, int, type(None))
_CHOICE: Mapping[str, type | tuple[type, ...]] = {
    "profile": (str, type(None)),
    "cpus": _ONE,
    "memory": _ONE,
    "gpus": _ONE,
    "gpu_model": _ONE,
    "time_limit": _ONE,
    "partition": _ONE,
    "account": _ONE,
    "qos": _ONE,
}


class ChoiceHandler(KernelHandlerBase):
    """``PUT choices/ID``: resources for a kernel whose id the browser has drawn."""

    @web.authenticated
    @authorized
    async def put(self, kernel_id: str) -> None:
        """Check and keep them, and answer what they come to."""
        choice = self.body(_CHOICE)
        if kernel_id in self.kernels:
            raise Refused(409, "started", "This kernel is there already.")
        await self.offer.refresh()
        try:
            resolved = self.offer.resolve(choice)
        except InvalidSpec as error:
            raise Refused(
                400, "invalid", error.message, field=error.field, hint=error.hint
            ) from error
        self.kernels.choices.put(kernel_id, resolved.options)
        self.finish(json.dumps({"summary": resources_in_words(resolved.resources)}))


class KernelHandler(KernelHandlerBase):
    """``GET ID``: where the kernel is, and why it ended."""

    @web.authenticated
    @authorized
    async def get(self, kernel_id: str) -> None:
        """Answer with it."""
        kernel = self.kernel(kernel_id)
        self.finish(json.dumps(kernel_view(kernel, datetime.now(UTC))))


class CancelHandler(KernelHandlerBase):
    """``POST ID/cancel``: end the kernel and its job, wherever it is."""

    @web.authenticated
    @authorized
    async def post(self, kernel_id: str) -> None:
        """End it."""
        self.job(kernel_id)
        await self.kernels.shutdown_kernel(kernel_id)
        self.set_status(204)
        self.finish()


class KeepHandler(KernelHandlerBase):
    """``PUT ID/keep``: let the kernel outlive the server, and idle times."""

    @web.authenticated
    @authorized
    async def put(self, kernel_id: str) -> None:
        """Keep it, or no longer."""
        asked = self.body({"keep": bool, "hours": (int, float)})
        kernel = self.job(kernel_id)
        if "keep" not in asked:
            raise Refused(400, "missing", "is missing.", field="keep")
        longest = self.kernels.kernel_settings.keep_limit.total_seconds()
        seconds = float(asked.get("hours", longest / 3600)) * 3600
        if asked["keep"] and not 0 < seconds <= longest:
            most = f"must be more than 0 and at most {longest / 3600:g}."
            raise Refused(400, "out_of_bounds", most, field="hours")
        try:
            await kernel.keep(seconds if asked["keep"] else 0)
        except KernelJobError as error:
            if kernel.phase == "running":
                raise Refused(409, "unreachable", error.failure.title) from error
            # It is told when its kernel starts.
        self.finish(json.dumps(kernel_view(kernel, datetime.now(UTC))))


class ActionHandler(KernelActionHandler):
    """Jupyter's own ``api/kernels/ID/(interrupt|restart)``, but 409 in the queue."""

    @web.authenticated
    @authorized
    async def post(self, kernel_id: str, action: str) -> None:
        """Do it if it can be done."""
        kernels: Any = self.kernel_manager
        kernels.refuse_while_pending(kernel_id)
        done: Any = super().post(kernel_id=kernel_id, action=action)
        await done


def routes(
    base_url: str, kernels: LandbridgeMappingKernelManager
) -> list[tuple[Any, ...]]:
    """Return the handlers to add below ``base_url``."""
    given = {"kernels": kernels}
    ours: list[tuple[str, type[KernelHandlerBase]]] = [
        ("options", OptionsHandler),
        (f"choices/{KERNEL_ID}", ChoiceHandler),
        (KERNEL_ID, KernelHandler),
        (f"{KERNEL_ID}/cancel", CancelHandler),
        (f"{KERNEL_ID}/keep", KeepHandler),
    ]
    return [
        *(
            (url_path_join(base_url, "landbridge", "kernels", path), handler, given)
            for path, handler in ours
        ),
        (
            url_path_join(
                base_url, "api", "kernels", KERNEL_ID, r"(?P<action>restart|interrupt)"
            ),
            ActionHandler,
        ),
    ]
