"""Which GPUs this machine has."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess

log = logging.getLogger(__name__)


def list_gpus() -> list[str]:
    """Return the model of each GPU as a plain name, by index.

    From ``nvidia-smi --query-gpu=name --format=csv,noheader`` (a line per GPU such
    as ``NVIDIA A100-SXM4-80GB``); none where that is not there or fails.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("No GPUs are used: nvidia-smi failed (%s)", error)
        return []
    return [gpu_model_name(line) for line in answer.stdout.splitlines() if line.strip()]


def gpu_model_name(product: str) -> str:
    """Return a product's name as a scheduler would spell it: ``"a100-sxm4-80gb"``."""
    words = re.sub(r"[^a-z0-9]+", "-", product.lower()).strip("-")
    return words.removeprefix("nvidia-")[:64] or "gpu"
