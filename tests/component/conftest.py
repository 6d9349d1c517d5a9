"""Real S3 stores, started once per session: SeaweedFS, and Ceph's gateway."""

from __future__ import annotations

from rigs.stores.fixtures import (
    faults,
    provider,
    rgw_facts,
    seaweedfs_facts,
    short_rig,
    site,
    store_facts,
    weed,
    weed_rig,
)
