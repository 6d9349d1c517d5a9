"""What the gateway's own API says about servers, starts and the cluster.

Pure functions from the core's values to JSON shapes; ``hub/api/servers.py`` serves
them and the pages draw them. Times are ISO 8601 in UTC, durations are seconds,
memory is bytes, and what is not known is ``null``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from spawners.batch.jobs.record import JobEvent, JobRecord
from spawners.batch.models import JobState, Resources
from spawners.batch.scheduler import ClusterSnapshot, Partition, UserLimits
from spawners.common.text import iso

# JSON objects are the one place where a dict of anything is the honest type.
Json = dict[str, Any]


def resources_view(resources: Resources) -> Json:
    """Return what the job asked for, without what it left to the site."""
    limit = resources.time_limit
    values: Json = {
        "cpus": resources.cpus,
        "memory": resources.memory,
        "gpus": resources.gpus,
        "gpu_model": resources.gpu_model,
        "nodes": resources.nodes,
        "time_limit": None if limit is None else int(limit.total_seconds()),
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "reservation": resources.reservation,
        "constraint": resources.constraint,
    }
    return {key: value for key, value in values.items() if value is not None}


def job_view(record: JobRecord, now: datetime) -> Json:
    """Return the batch job behind a record as last read."""
    status = record.status
    left = status.time_left(now)
    return {
        "name": record.name,
        "id": record.job.id if record.job else None,
        "state": status.state.value,
        "is_current": record.status_is_current and status.state is not JobState.UNKNOWN,
        "reason": status.reason,
        "nodes": list(status.nodes),
        "queue_place": status.queue_place,
        "estimated_start": iso(status.estimated_start),
        "started": iso(status.started),
        "ends": iso(status.ends),
        "time_left": None if left is None else int(left.total_seconds()),
        "exit_code": status.exit_code,
        "read_at": iso(status.read_at),
    }


def server_view(record: JobRecord, name: str, url: str, now: datetime) -> Json:
    """Return one server: its state in a word, its job, and its last failure.

    Args:
        record: the newest record of the server.
        name: the server's name, empty for the default one.
        url: where it answers (or will answer) in the browser.
        now: aware UTC, for the time left.
    """
    return {
        "user": record.user,
        "name": name,
        "url": url,
        "state": record.stage.value,
        "generation": record.generation,
        "profile": record.facts.get("profile"),
        "profile_title": record.facts.get("title"),
        "resources": resources_view(record.resources),
        "job": job_view(record, now),
        "failure": None if record.failure is None else asdict(record.failure),
        "cancel_wanted": iso(record.cancel_wanted),
        "created": iso(record.created),
        "updated": iso(record.updated),
    }


def event_view(event: JobEvent) -> Json:
    """Return one line of a start's log; ``seq`` counts from 1 within the start."""
    return {
        "seq": event.seq,
        "at": iso(event.at),
        "kind": event.kind,
        "message": event.message,
        "data": dict(event.data),
    }


def _partition_view(partition: Partition) -> Json:
    def seconds(limit: Any) -> int | None:
        return None if limit is None else int(limit.total_seconds())

    return {
        "name": partition.name,
        "up": partition.up,
        "default": partition.default,
        "max_time": seconds(partition.max_time),
        "default_time": seconds(partition.default_time),
        "nodes": partition.nodes,
        "idle_nodes": partition.idle_nodes,
        "cpus": partition.cpus,
        "idle_cpus": partition.idle_cpus,
        "max_cpus_per_node": partition.max_cpus_per_node,
        "max_memory_per_node": partition.max_memory_per_node,
        "gpus": [
            {
                "model": pool.model,
                "total": pool.total,
                "idle": pool.idle,
                "per_node": pool.per_node,
            }
            for pool in partition.gpus
        ],
    }


def cluster_view(
    snapshot: ClusterSnapshot | None,
    limits: UserLimits | None,
    now: datetime,
    only: Iterable[str] | None = None,
) -> Json:
    """Return what is idle now, how old that reading is, and the user's limits.

    ``partitions`` is ``null`` until the first reading; ``limits`` is ``null`` when
    the scheduler did not tell. ``only`` names the partitions to show.
    """
    wanted = None if only is None else set(only)
    return {
        "taken_at": iso(snapshot.taken_at) if snapshot else None,
        "age": max(0, int((now - snapshot.taken_at).total_seconds()))
        if snapshot
        else None,
        "partitions": [
            _partition_view(partition)
            for partition in snapshot.partitions
            if wanted is None or partition.name in wanted
        ]
        if snapshot
        else None,
        "limits": {
            "accounts": {
                name: sorted(qos) for name, qos in sorted(limits.accounts.items())
            },
            "default_account": limits.default_account,
            "max_jobs": limits.max_jobs,
            "max_submit": limits.max_submit,
            "max_gpus": dict(limits.max_gpus) if limits.max_gpus else None,
        }
        if limits
        else None,
    }
