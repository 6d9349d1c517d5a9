"""Keeps Python kernels off TCP, where every account of the node could write to them.

Two things of ipykernel listen on ``127.0.0.1`` whatever its transport, and no setting
changes that:

- its pipe for the output of forked processes takes messages of any size from anybody,
  keeps them in memory and prints them. Here it becomes a socket in a private directory;
- once JupyterLab's debugger has been used, debugpy's adapter listens for as long as the
  kernel lives, and runs the code of whoever connects. Here it and the kernel take
  connections of their own user only, as the system's table of connections tells it.

So the module that starts the kernel is started by a few lines that change this. A
release in which they find no such pipe is started as it is; one whose debugger cannot
be guarded has none.

Travels in jobs: standard library of Python 3.6 or newer only.
"""

import os
from typing import List

_STARTERS = ("ipykernel_launcher", "ipykernel")
_LONGEST = 80  # a unix socket's path ends at 107 bytes

# The peer of a connection within this machine has a row of its own, with its owner.
# A listener that is for other machines was opened by the user on purpose.
_GUARD = """\
def guard(sockets):
    import os, socket, struct
    def row(address):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        packed = socket.inet_pton(family, address[0])
        words = struct.unpack("=%dI" % (len(packed) // 4), packed)
        return "".join("%08X" % word for word in words) + ":%04X" % address[1]
    def is_ours(one):
        ends = [row(one.getpeername()), row(one.getsockname())]
        number = "6" if one.family == socket.AF_INET6 else ""
        with open("/proc/self/net/tcp" + number) as table:
            for line in table:
                words = line.split()
                if words[1:3] == ends:
                    return words[7] == str(os.getuid())
        return False
    class Listener(socket.socket):
        def accept(self):
            while True:
                one, address = super().accept()
                try:
                    if is_ours(one):
                        return one, address
                except OSError:
                    pass
                one.close()
    plain = sockets.create_server
    def create_server(host, *args, **kwargs):
        server = plain(host, *args, **kwargs)
        if host not in (None, "localhost", "127.0.0.1", "::1"):
            return server
        timeout = server.gettimeout()
        guarded = Listener(fileno=server.detach())
        guarded.settimeout(timeout)
        return guarded
    sockets.create_server = create_server
"""

# Debugpy runs this in the place of its adapter, a process of its own.
_ADAPTER = """\
import os, runpy, sys
real = REAL
sys.path[0] = os.path.dirname(os.path.dirname(real))
import debugpy
from debugpy.common import sockets
del sys.path[0]
GUARD
guard(sockets)
sys.argv[0] = real
runpy.run_path(real, run_name="__main__")
"""

# Runs in the kernel's own Python, before anything of the user's. "-c" puts the current
# folder on the path, from which nothing is to be imported yet; IPython adds it later.
_STARTER = """\
import sys
if sys.path and sys.path[0] == "":
    del sys.path[0]
import os, runpy
def private(address):
    import zmq
    from ipykernel.iostream import IOPubThread
    pipe_in, pipe_out = IOPubThread._setup_pipe_in, IOPubThread._setup_pipe_out
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
GUARD
def guarded(place):
    from ipykernel import debugger
    if not debugger._is_debugpy_available:
        return
    debugger._is_debugpy_available = False
    from debugpy.common import sockets
    from debugpy.server import api
    real = os.path.dirname(api.adapter.__file__)
    guard(sockets)
    os.mkdir(place, 0o700)
    with open(os.path.join(place, "__main__.py"), "w") as file:
        file.write(ADAPTER.replace("REAL", repr(real)))
    class Ours:
        __file__ = os.path.join(place, "__main__.py")
    api.adapter = Ours
    debugger._is_debugpy_available = True
try:
    private("ipc://%s/out-%d" % (PLACE, os.getpid()))
except (ImportError, AttributeError):
    pass
try:
    guarded("%s/debug-%d" % (PLACE, os.getpid()))
except (ImportError, AttributeError, OSError):
    pass
del private, guard, guarded
runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
"""


def with_private_pipe(argv: List[str], directory: str) -> List[str]:
    """Return the command that starts the same kernel listening in ``directory``.

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
            adapter = _ADAPTER.replace("GUARD", _GUARD)
            starter = _STARTER.replace("GUARD", _GUARD)
            starter = starter.replace("ADAPTER", repr(adapter))
            starter = starter.replace("MODULE", repr(name))
            starter = starter.replace("PLACE", repr(directory))
            return [*argv[:number], "-c", starter, *argv[number + 2 :]]
        if not word.startswith("-") or word == "-c":
            return argv
    return argv
