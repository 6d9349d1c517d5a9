"""What a job asks for, in words."""

from __future__ import annotations

from spawners.common.text import count_in_words, duration_in_words, size_in_words

from ..models import Resources


def resources_in_words(resources: Resources) -> str:
    """Return what a job asks for: ``"4 CPUs, 16 GB, 1 GPU (a100), 2 h"``."""
    parts = [count_in_words(resources.cpus, "CPU")]
    if resources.memory is not None:
        parts.append(size_in_words(resources.memory))
    if resources.gpus:
        model = f" ({resources.gpu_model})" if resources.gpu_model else ""
        parts.append(count_in_words(resources.gpus, "GPU") + model)
    if resources.nodes > 1:
        parts[0] += " per node"
        parts.insert(0, count_in_words(resources.nodes, "node"))
    if resources.time_limit is not None:
        parts.append(duration_in_words(resources.time_limit))
    return ", ".join(parts)
