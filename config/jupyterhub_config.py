"""JupyterHub's configuration: all of it comes from gateway.toml and profiles.yaml.

Your own settings go into jupyterhub_config.d/*.py, which run last, with `c`.
"""

import os
from pathlib import Path

from hub.assemble import assemble, run_snippets
from hub.config.settings import load_settings

c = get_config()  # noqa: F821 -- JupyterHub provides it

assemble(c, load_settings(os.environ))
run_snippets(c, Path(__file__).parent / "jupyterhub_config.d")
