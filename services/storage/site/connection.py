"""The store as it was found: who speaks to it, who makes keys, what it can."""

from __future__ import annotations

from dataclasses import dataclass

from ..drivers.brought import BroughtKeyDriver
from ..drivers.driver import CredentialDriver
from ..s3.client import S3Client
from ..s3.object_names import EVERY_KEY, KeyRules


@dataclass(frozen=True, slots=True)
class StoreConnection:
    """The store, once it is reached.

    Attributes:
        client: signs as the broker; as nobody, where users bring their keys and there
            is none.
        endpoint: where programs of users reach it; the embedded one by the gateway.
        driver: makes keys for users; ``None`` where the store cannot.
        embedded: whether it is the one that comes along.
        own_keys: where users bring their keys: the service then acts by these.
        keys: which names it keeps.
        gateway: the same, where it is the gateway's own address; else ``""``.
        urls_bound: see :class:`~.probe.StoreFeatures`.
        tried: whether its ways are known: not before the first user's key, where the
            service has none of its own.
    """

    client: S3Client
    endpoint: str
    driver: CredentialDriver | None
    embedded: bool
    own_keys: BroughtKeyDriver | None = None
    keys: KeyRules = EVERY_KEY
    gateway: str = ""
    urls_bound: bool = False
    tried: bool = True
