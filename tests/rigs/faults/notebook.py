"""A kernel in a server in a job, as a browser's tab holds on to it."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack
from typing import Any

from websockets.sync.client import connect

from rigs.hub.process import ADMIN_TOKEN, HubProcess, until


class Tab:
    """A websocket to a new kernel of a user's server, through the edge."""

    def __init__(self, hub: HubProcess, user: str) -> None:
        self.hub, self.path = hub, f"/user/{user}/api/kernels"
        self.kernel = until("a kernel", self._new_kernel)
        self.session = uuid.uuid4().hex
        self._open = ExitStack()
        self.open()

    def _new_kernel(self) -> str | None:
        answer = self.hub.api.post(self.path, json={"name": "python3"})
        return str(answer.json()["id"]) if answer.status_code == 201 else None

    def open(self) -> None:
        """Connect, anew if need be, as JupyterLab does after a lost connection."""
        self.close()
        address = (
            f"ws://127.0.0.1:{self.hub.port}{self.path}/{self.kernel}/channels"
            f"?session_id={self.session}"
        )
        self.socket = self._open.enter_context(
            connect(
                address,
                additional_headers={"Authorization": f"token {ADMIN_TOKEN}"},
                proxy=None,
                open_timeout=30,
            )
        )

    def run(self, code: str, seconds: float = 30) -> str:
        """Run code; return what it printed."""
        asked = uuid.uuid4().hex
        header = {"msg_id": asked, "msg_type": "execute_request", "version": "5.3"}
        header |= {"session": self.session, "username": "", "date": ""}
        content: dict[str, Any] = {"code": code, "silent": False}
        content |= {"store_history": False, "stop_on_error": True}
        content |= {"user_expressions": {}, "allow_stdin": False}
        self.socket.send(
            json.dumps(
                {
                    "channel": "shell",
                    "header": header,
                    "parent_header": {},
                    "metadata": {},
                    "content": content,
                }
            )
        )
        printed = ""
        while True:
            message = json.loads(self.socket.recv(seconds))
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                printed += content["text"]
            elif kind == "error":
                raise AssertionError(content)
            elif kind == "status" and content["execution_state"] == "idle":
                return printed

    def close(self) -> None:
        """Close the connection; the kernel lives on."""
        self._open.close()
