"""A real hub with HAProxy, the storage service and its embedded store, and people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from rigs.hub.process import PASSWORD, HubProcess, running_hub, until
from rigs.services.person import PREFIX, Document, Person


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """The hub, ready for storage; one for all tests."""
    directory = Path(tmp_path_factory.mktemp("web"))
    with running_hub(directory) as hub:
        wait_ready(hub)
        yield hub


def wait_ready(hub: HubProcess) -> None:
    """Wait until the service and its store work."""
    until(
        "storage is ready",
        lambda: hub.api.get(f"{PREFIX}health").status_code == 200,
        seconds=60,
    )


@pytest.fixture(scope="session")
def ready(gateway: HubProcess) -> Callable[[], None]:
    """Wait until storage works (again)."""
    return lambda: wait_ready(gateway)


@pytest.fixture(scope="session")
def document(gateway: HubProcess) -> Document:
    """The OpenAPI document."""
    return Document(gateway.api.get(f"{PREFIX}api/v1/openapi.json").json())


@pytest.fixture(scope="session")
def person(gateway: HubProcess, document: Document) -> Iterator[Callable[..., Person]]:
    """Make a person by name; ``scopes`` cut the token down."""
    made: set[str] = set()
    people: list[Person] = []

    def make(name: str, scopes: list[str] | None = None) -> Person:
        if name not in made:
            gateway.add_user(name)
            made.add(name)
        wish = {} if scopes is None else {"scopes": scopes}
        token = gateway.call("POST", f"users/{name}/tokens", wish)["token"]
        people.append(Person(name, gateway.port, document, token))
        return people[-1]

    yield make
    for one in people:
        one.http.close()


@pytest.fixture(scope="session")
def stranger(gateway: HubProcess, document: Document) -> Iterator[Person]:
    """Somebody without a token."""
    nobody = Person("nobody", gateway.port, document, "")
    yield nobody
    nobody.http.close()


@pytest.fixture(scope="session")
def alice(person: Callable[..., Person]) -> Person:
    return person("alice")


@pytest.fixture(scope="session")
def bob(person: Callable[..., Person]) -> Person:
    return person("bob")


@pytest.fixture
def browser(gateway: HubProcess) -> Iterator[httpx.Client]:
    """A browser's cookies, signed in to the hub as carol."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{gateway.port}",
        trust_env=False,
        follow_redirects=True,
        timeout=30,
    ) as client:
        page = client.get("/hub/login")
        answer = client.post(
            "/hub/login",
            data={
                "username": "carol",
                "password": PASSWORD,
                "_xsrf": client.cookies.get("_xsrf", path="/hub/"),
            },
            headers={"Sec-Fetch-Mode": "navigate"},
        )
        assert page.status_code == 200
        assert answer.status_code == 200, answer.text
        yield client
