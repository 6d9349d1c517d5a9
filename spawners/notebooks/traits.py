"""The settings of a batch server: batchspawner's own, and what Landbridge adds."""

from __future__ import annotations

import jupyterhub.apihandlers
from batchspawner import BatchSpawnerBase
from batchspawner.api import BatchSpawnerAPIHandler
from traitlets import Any, Float, Integer, Unicode

# batchspawner's own callback sets any attribute of the spawner that a job names.
# Importing batchspawner registers it; our jobs report elsewhere, so it goes.
jupyterhub.apihandlers.default_handlers[:] = [
    route
    for route in jupyterhub.apihandlers.default_handlers
    if route[1] is not BatchSpawnerAPIHandler
]


class ServerSettings(BatchSpawnerBase):  # type: ignore[misc]  # it is untyped
    """Traits alone; ``exec_prefix`` and the ``batch_*_cmd`` have no effect here.

    What a site has set on ``c.SlurmSpawner`` counts here as well.
    """

    @classmethod
    def section_names(cls) -> list[str]:
        """Return the names of the configuration's sections, the last one wins."""
        names: list[str] = super().section_names()
        at = names.index("BatchSpawnerBase") + 1
        return [*names[:at], "BatchSpawnerRegexStates", "SlurmSpawner", *names[at:]]

    start_timeout = Integer(
        30 * 86_400,
        help="Seconds that a start may take with its time in the queue. The clocks "
        "that matter are `queue_timeout` and `launch_timeout`.",
    ).tag(config=True)
    queue_timeout = Float(
        None,
        allow_none=True,
        help="Seconds that a start may wait in the queue; default: as long as it "
        "takes.",
    ).tag(config=True)
    launch_timeout = Float(
        300,
        min=1,
        help="Seconds from the job's start on its node to a server that reports.",
    ).tag(config=True)
    http_timeout = Integer(
        60, help="Seconds from that report until the hub must reach the server."
    ).tag(config=True)
    stop_timeout = Float(
        30,
        min=0,
        help="Seconds that a stop waits to see the job end. The wish stays, however "
        "long it takes.",
    ).tag(config=True)
    warn_before = Float(
        300,
        min=0,
        help="Seconds before its time limit that a job is warned; 0 for never. Not "
        "with a `batch_script` of the site's own.",
    ).tag(config=True)
    consecutive_failure_limit = Integer(
        0, help="Failed starts in a row after which the hub ends itself; 0: never."
    ).tag(config=True)

    req_qos = Unicode("", help="QoS to submit with.").tag(config=True)
    req_reservation = Unicode("", help="Reservation to submit to.").tag(config=True)
    req_gres = Unicode("", help="GPUs, as `gpu:2` or `gpu:a100:2`.").tag(config=True)
    req_constraint = Unicode("", help="Node features to ask for.").tag(config=True)
    req_cluster = Unicode("", help="Kept for scripts that name it.").tag(config=True)
    req_srun = Unicode(
        "", help="Prefix of the server's command in the job, such as `srun`."
    ).tag(config=True)

    profiles = Any(
        None,
        allow_none=True,
        help="What users may pick, as `spawners.profiles.profiles` reads it; `None` "
        "gives every server what the `req_` settings say.",
    ).tag(config=True)
