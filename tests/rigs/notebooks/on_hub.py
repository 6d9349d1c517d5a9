"""A notebook server of a hub as a program sees it: REST, and kernels by websocket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx

from rigs.hub.process import ADMIN_TOKEN, PASSWORD, HubProcess, until
from rigs.notebooks.server import Channel, open_channel


class NotebookServer:
    """A user's notebook server, through the edge."""

    def __init__(self, hub: HubProcess, user: str) -> None:
        self.hub = hub
        self.user = user

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.hub.api.request(method, f"/user/{self.user}/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def start(self) -> None:
        self.hub.start_server(self.user)
        self.hub.wait_state(self.user, "ready")
        until("it answers", lambda: self.hub.answers(self.user))

    def stop(self) -> None:
        self.hub.stop_server(self.user)
        self.hub.wait_state(self.user, "stopped")

    def wait(self, kernel: str, state: str) -> dict[str, Any]:
        """Wait until a kernel is in a state; return what is told of it."""

        def look() -> dict[str, Any] | None:
            answer = self.hub.api.get(f"/user/{self.user}/landbridge/kernels/{kernel}")
            view = dict(answer.json()) if answer.is_success else {}
            return view if view.get("state") == state else None

        return dict(until(f"{kernel} is {state}", look))

    @contextlib.contextmanager
    def channel(self, kernel: str) -> Iterator[Channel]:
        url = f"http://127.0.0.1:{self.hub.port}/user/{self.user}/"
        with open_channel(url, kernel, ADMIN_TOKEN, seconds=60) as channel:
            yield channel

    def run(self, kernel: str, code: str, seconds: float = 90) -> str:
        """Run code in a kernel and return what it printed."""
        with self.channel(kernel) as channel:
            return channel.run(code, seconds)


@contextlib.contextmanager
def browser(hub: HubProcess, user: str) -> Iterator[httpx.Client]:
    """Sign in as a browser does, at the hub and at the user's server."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{hub.port}", follow_redirects=True, trust_env=False
    ) as client:
        client.get("/hub/login")
        hub_xsrf = {cookie.path: cookie.value for cookie in client.cookies.jar}["/hub/"]
        page = client.post(
            "/hub/login",
            params={"next": f"/user/{user}/lab"},
            data={"username": user, "password": PASSWORD, "_xsrf": hub_xsrf},
        )
        assert page.url.path == f"/user/{user}/lab", page.url
        yield client
