"""Binds a port and keeps every byte that comes: ``squatter.py PORT FILE [KEY CERT]``.

With a key and a certificate it speaks TLS and keeps what comes decrypted.
"""

import socket
import ssl
import sys
from pathlib import Path

port, kept = int(sys.argv[1]), Path(sys.argv[2])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", port))
listener.listen(16)
context = None
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[3])
print("bound", flush=True)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbob's"
while True:
    connection, _ = listener.accept()
    with kept.open("ab") as file:
        file.write(b"connection\n")
        file.flush()
        connection.settimeout(3)
        try:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
                file.write(b"handshake\n")
                file.flush()
            while data := connection.recv(65536):
                file.write(data)
                file.flush()
                connection.sendall(ANSWER)
        except OSError:
            pass
        finally:
            connection.close()
