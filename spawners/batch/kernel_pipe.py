"""Keeps the inner pipe of Python kernels off TCP, where a whole node could write to it.

ipykernel takes the output of forked processes on ``tcp://127.0.0.1``, whatever its
transport; every account of the node can send it messages of any size, which it keeps in
memory and prints. There is no setting for it, so the module that starts the kernel is
started by a few lines that put the pipe into a private directory. A release in which
they find nothing to change is started as it is.

Travels in jobs: standard library of Python 3.6 or newer only.
"""

import os
from typing import List

_STARTERS = ("ipykernel_launcher", "ipykernel")
_LONGEST = 90  # a unix socket's path ends at 107 bytes

# Runs in the kernel's own Python, before anything of the user's. "-c" puts the current
# folder on the path, from which nothing is to be imported yet; IPython adds it later.
_STARTER = """\
import sys
if sys.path and sys.path[0] == "":
    del sys.path[0]
import runpy
def private(address):
    import os, zmq
    from ipykernel.iostream import IOPubThread
    pipe_in, pipe_out = IOPubThread._setup_pipe_in, IOPubThread._setup_pipe_out
    address += "-%d" % os.getpid()
    def within(method, name, act):
        def call(self):
            plain = getattr(zmq.Socket, name)
            def moved(socket, to, *args, **kwargs):
                if to.startswith("tcp://127.0.0.1"):
                    return act(socket, plain)
                return plain(socket, to, *args, **kwargs)
            setattr(zmq.Socket, name, moved)
            try:
                return method(self)
            finally:
                setattr(zmq.Socket, name, plain)
        return call
    def bind(socket, plain):
        socket.bind(address)
        return 1
    def connect(socket, plain):
        return plain(socket, address)
    IOPubThread._setup_pipe_in = within(pipe_in, "bind_to_random_port", bind)
    IOPubThread._setup_pipe_out = within(pipe_out, "connect", connect)
try:
    private(ADDRESS)
except (ImportError, AttributeError):
    pass
del private
runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
"""


def with_private_pipe(argv: List[str], directory: str) -> List[str]:
    """Return the command that starts the same kernel with its pipe in ``directory``.

    Only that of a Python kernel is changed, ``python … -m ipykernel_launcher …``.

    Args:
        argv: the kernel's command.
        directory: one that nobody else may enter.
    """
    if not argv or not os.path.basename(argv[0]).startswith("python"):
        return argv
    for number, word in enumerate(argv[1:-1], 1):
        if word == "-m":
            name = argv[number + 1]
            if name not in _STARTERS or len(directory.encode()) > _LONGEST:
                return argv
            address = "ipc://" + os.path.join(directory, "out")
            starter = _STARTER.replace("ADDRESS", repr(address))
            starter = starter.replace("MODULE", repr(name))
            return [*argv[:number], "-c", starter, *argv[number + 2 :]]
        if not word.startswith("-") or word == "-c":
            return argv
    return argv
