"""Starts ``jupyterhub-singleuser`` on a port that is bound before anything else.

Runs in the user's environment (Python 3.8+, JupyterHub 4 to 6), as a file that the
agent wrote; nothing of Landbridge is installed there. The sockets are bound here, to
a port that the system chose, and kept: Jupyter's search for a free port and its
later listening get copies of them, so no other process can slip in between. When the
server accepts connections, the port goes to the agent on a pipe.

The server asks for a client certificate of the hub's authority (TLS 1.2 or newer);
whoever has none, gets no answer at all.
"""

import errno
import importlib
import importlib.util
import os
import socket
import ssl
import sys
import time
import types
from typing import Any, List, NoReturn

MISSING = 127  # as a shell says "command not found"


def fail(message: str, code: int) -> NoReturn:
    """Say in one line what is wrong and end."""
    sys.stderr.write("Landbridge: %s\n" % message)
    sys.exit(code)


def bind(wanted: int = 0) -> List[socket.socket]:
    """Bind one port on all IPv4 and IPv6 addresses; return what there is of both.

    ``wanted`` is that of a server which crashed, and which the hub knows.
    """
    for _ in range(20):
        bound: List[socket.socket] = []
        port = wanted
        try:
            for family, address in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
                try:
                    one = socket.socket(family, socket.SOCK_STREAM)
                except OSError:
                    continue  # this family does not exist here
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                try:
                    one.bind((address, port))
                except OSError as error:
                    one.close()
                    if error.errno != errno.EADDRNOTAVAIL:
                        raise
                    continue  # the family is switched off
                one.listen(128)
                one.settimeout(0)
                bound.append(one)
                port = one.getsockname()[1]
        except OSError:
            for one in bound:
                one.close()
            # Taken in the other family: draw again. Or what a crash left is ending.
            time.sleep(0.2 if wanted else 0)
            continue
        if bound:
            return bound
    fail("No free port was found on this node.", 1)


def tls_context() -> ssl.SSLContext:
    """Return the server's side of TLS, from the files that the agent wrote."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(
        os.environ["JUPYTERHUB_SSL_CERTFILE"], os.environ["JUPYTERHUB_SSL_KEYFILE"]
    )
    context.load_verify_locations(os.environ["JUPYTERHUB_SSL_CLIENT_CA"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def announce(port: int) -> None:
    """Tell the agent, once, and let no kernel inherit the pipe."""
    descriptor = os.environ.pop("LANDBRIDGE_READY_FD", "")
    if descriptor:
        os.write(int(descriptor), b"%d\n" % port)
        os.close(int(descriptor))


def use_sockets(bound: List[socket.socket], context: ssl.SSLContext) -> None:
    """Make Tornado serve on ``bound``, and on nothing else in its place.

    Uses the two documented seams ``tornado.netutil.bind_sockets`` and
    ``tornado.tcpserver.TCPServer.add_sockets``; to be called before Jupyter is
    imported, which takes the first by name.
    """
    from tornado import netutil

    port = bound[0].getsockname()[1]
    bind_sockets = netutil.bind_sockets

    def give_ours(
        wanted: int, *args: Any, **kwargs: Any
    ) -> List[socket.socket]:  # whatever else a version of Tornado passes
        if int(wanted or 0) == port:
            return [one.dup() for one in bound]
        return bind_sockets(wanted, *args, **kwargs)

    netutil.bind_sockets = give_ours  # type: ignore[assignment]

    from tornado.tcpserver import TCPServer

    add_sockets = TCPServer.add_sockets

    def observe(server: Any, sockets: Any) -> None:
        sockets = list(sockets)
        if not any(one.getsockname()[1:2] == (port,) for one in sockets):
            add_sockets(server, sockets)  # of some extension
            return
        server.ssl_options = context  # however Jupyter read its settings
        add_sockets(server, sockets)
        for one in bound:
            one.close()
        del bound[:]
        announce(port)

    TCPServer.add_sockets = observe  # type: ignore[assignment, method-assign]


def put_off_grammar() -> None:
    """Let the grammar of IRIs be built when one is checked, not at every start.

    Building it takes more than a second, a third of a server's whole start: jsonschema
    imports ``rfc3987_syntax`` for Jupyter's events, none of which has an IRI in it.
    """
    name = "rfc3987_syntax"
    spec = importlib.util.find_spec(name)
    if spec is None:
        return
    stand_in = types.ModuleType(name)

    def real(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    def is_valid_syntax(*args: Any, **kwargs: Any) -> Any:
        return real("is_valid_syntax")(*args, **kwargs)

    stand_in.is_valid_syntax = is_valid_syntax  # type: ignore[attr-defined]
    stand_in.__getattr__ = real  # type: ignore[method-assign]
    stand_in.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[name] = stand_in


def start_without_hub() -> None:
    """Let the server start while the hub is away, as it does when that is restarted.

    JupyterHub asks the hub for its release first, to log a warning if they differ, and
    ends after some 45 s without an answer: with it a job that had waited for hours, or
    a server that crashed and that kernels in other jobs wait for.
    """

    async def check_hub_version(app: Any) -> None:
        app.log.debug("The hub is not asked for its release.")

    for module, name in (
        ("jupyterhub.singleuser.extension", "JupyterHubSingleUser"),
        ("jupyterhub.singleuser.mixins", "SingleUserNotebookAppMixin"),
    ):
        app = getattr(sys.modules.get(module), name, None)
        if hasattr(app, "check_hub_version"):
            app.check_hub_version = check_hub_version  # type: ignore[union-attr]


def keep_pipes_private() -> None:
    """Let no kernel beside this server listen where other accounts can reach it."""
    try:
        from jupyter_client.provisioning.local_provisioner import LocalProvisioner
    except ImportError:
        return  # an old release, in which kernels are started elsewhere
    directory = os.environ["JUPYTER_RUNTIME_DIR"]
    with_private_pipe = beside("kernel_pipe").with_private_pipe
    launch_kernel = LocalProvisioner.launch_kernel

    def launch(self: Any, cmd: List[str], **kwargs: Any) -> Any:
        return launch_kernel(self, with_private_pipe(cmd, directory), **kwargs)

    LocalProvisioner.launch_kernel = launch  # type: ignore[method-assign]


def beside(name: str) -> Any:
    """Return a module from the file that the agent wrote beside this one."""
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("landbridge_" + name, place)
    assert spec is not None and spec.loader is not None  # noqa: S101 -- a .py file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Start the server; never returns."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if place != here]
    kernels = os.path.join(here, "kernels.json")
    if os.path.exists(kernels):
        os.environ["LANDBRIDGE_KERNEL_CONFIG"] = kernels
    descriptor = os.environ.get("LANDBRIDGE_READY_FD")
    if descriptor:
        os.set_inheritable(int(descriptor), False)  # noqa: FBT003
    try:
        import tornado.netutil  # noqa: F401 -- only to see that it is there
    except ImportError as error:
        fail_missing(error)
    bound = bind(int(os.environ.pop("LANDBRIDGE_BIND_PORT", "0")))
    port = bound[0].getsockname()[1]
    # An empty host means all addresses, to every version.
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/")
    os.environ["JUPYTERHUB_SERVICE_URL"] = "https://:%d%s" % (port, prefix)
    use_sockets(bound, tls_context())
    put_off_grammar()
    try:
        import jupyter_server  # noqa: F401 -- a clear message rather than a traceback
        from jupyterhub.singleuser import main as singleuser
    except ImportError as error:
        fail_missing(error)
    beside("server_rights").install()
    start_without_hub()
    keep_pipes_private()
    sys.argv[0] = "jupyterhub-singleuser"
    sys.exit(singleuser())


def fail_missing(error: ImportError) -> NoReturn:
    """End because the user's environment lacks a package, or has a broken one."""
    what = "JupyterHub" if error.name == "jupyterhub" else "JupyterLab"
    if error.name in ("jupyterhub", "jupyter_server", "tornado"):
        why = "is not installed in this environment (%s)" % sys.prefix
    else:
        why = "cannot be loaded in this environment (%s): %s" % (sys.prefix, error)
    fail(
        "%s %s. Choose another environment, or install the packages jupyterhub and "
        "jupyterlab in it." % (what, why),
        MISSING,
    )


if __name__ == "__main__":
    main()
