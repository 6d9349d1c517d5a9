"""A stranger who wants ports: ``racer.py FILE PORT...``; what comes is kept in FILE.

For each port and each set of options it tries again and again; one that it gets it
keeps, and writes down every byte that is sent there. Says ``races`` once it does.
"""

import contextlib
import json
import select
import socket
import sys
import time
from pathlib import Path

kept, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
ADDR, PORT = socket.SO_REUSEADDR, socket.SO_REUSEPORT
WAYS = [(), (ADDR,), (PORT,), (ADDR, PORT)]
listening, open_now, turn = {}, {}, 0
said = Path(kept).open("a", buffering=1)  # noqa: SIM115 -- until it is killed


def take(port, options, host):
    one = socket.socket()
    try:
        for option in options:
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        one.bind((host, port))
        one.listen(64)
    except OSError:
        one.close()
        return None
    return one


print("races", flush=True)
while True:
    turn += 1
    for port in ports:
        if port not in listening.values():
            host = "127.0.0.1" if turn // 4 % 2 else "0.0.0.0"
            got = take(port, WAYS[turn % 4], host)
            if got is not None:
                listening[got] = port
                said.write(json.dumps({"port": port, "got": True}) + "\n")
    ready, _, _ = select.select([*listening, *open_now], [], [], 0)
    for one in ready:
        if one in listening:
            connection = one.accept()[0]
            open_now[connection] = listening[one]
            continue
        try:
            data = one.recv(65536)
        except OSError:
            data = b""
        if data:
            row = {"port": open_now[one], "data": data.decode("latin-1")}
            said.write(json.dumps(row) + "\n")
            with contextlib.suppress(OSError):
                one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsquatter")
        else:
            del open_now[one]
            one.close()
    time.sleep(0.0005)
