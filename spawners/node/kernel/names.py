"""Names that both ends of a kernel's tunnel know.

Travels in the job with ``main.py``: standard library of Python 3.6 or newer only.
"""

from typing import Any, Dict

# The index in this list is also the number at the end of a kernel's socket.
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
CONTROL = "ctl"  # ours: restart, signals, exit codes

Json = Dict[str, Any]
