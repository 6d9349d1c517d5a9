"""JupyterHub's side of the edge, which is in :mod:`services.edge`.

``HAProxyProxy`` is JupyterHub's ``proxy_class``.
"""

from .haproxy import HAProxyProxy

__all__ = ["HAProxyProxy"]
