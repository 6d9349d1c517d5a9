"""JupyterHub's side of the edge, which is in :mod:`services.edge`.

``HAProxyProxy`` is JupyterHub's ``proxy_class``. ``EdgeConfig`` and
``write_config`` make the same files for a site that runs HAProxy itself.
"""

from services.edge.config import Certificate, EdgeConfig, render, write_config

from .haproxy import HAProxyProxy

__all__ = ["Certificate", "EdgeConfig", "HAProxyProxy", "render", "write_config"]
