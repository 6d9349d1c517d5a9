"""The hub: JupyterHub assembled from a site's settings, its proxy and its pages."""
