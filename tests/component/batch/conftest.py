"""Jobs on real processes: of this machine, or of a Slurm."""

from __future__ import annotations

from rigs.batch.fixtures import deadline, fake, open_jobs, quick, store_url
