#!/usr/bin/python3 -I
"""A server in a job without Jupyter: proves itself by TLS, and says what it got.

``.../mirror`` answers with the request's headers, ``.../eat`` takes 400 MB and stays,
``.../end`` ends with code 3, all else is a version as JupyterLab's ``/api`` tells it.
"""

import json
import os
import signal
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EATEN = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.request.settimeout(60)
        super().setup()

    def do_GET(self):
        if self.path.endswith("/eat"):
            EATEN.append(bytearray(os.urandom(1)) * 400_000_000)
        told = {"version": "stub"}
        if self.path.endswith("/mirror"):
            told["headers"] = list(self.headers.items())
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path.endswith("/end"):
            sys.stderr.write("stub: asked to end\n")
            sys.stderr.flush()
            threading.Timer(0.2, os._exit, [3]).start()

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a handshake that failed


def main():
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(
        os.environ["JUPYTERHUB_SSL_CERTFILE"], os.environ["JUPYTERHUB_SSL_KEYFILE"]
    )
    context.load_verify_locations(os.environ["JUPYTERHUB_SSL_CLIENT_CA"])
    context.verify_mode = ssl.CERT_REQUIRED
    port = int(os.environ.pop("LANDBRIDGE_BIND_PORT", "0"))
    server = Server(("0.0.0.0", port), Handler)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    told = int(os.environ.pop("LANDBRIDGE_READY_FD"))
    os.write(told, b"%d\n" % server.server_address[1])
    os.close(told)
    server.serve_forever(poll_interval=60)


main()
