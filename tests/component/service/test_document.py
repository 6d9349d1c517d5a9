"""Requests made up from the OpenAPI document: none is an internal error.

Valid by the document or nearly so, or any JSON at all; every answer is checked against
the document by ``Person.ask``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rigs.services.person import Person
from rigs.services.service import running_service, write_key
from rigs.stores.sites import StoreFacts
from services.storage.spec import SPEC

NAMES = [f"{route.method} {route.path}" for route in SPEC.routes]
TEXT = st.text(max_size=12) | st.sampled_from(["m-alice", "a//b", "..", "\x00", "%2F"])
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=6
)


@pytest.fixture(scope="module")
def alice(
    seaweedfs_facts: StoreFacts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Person]:
    directory = tmp_path_factory.mktemp("document")
    key = seaweedfs_facts.key
    options = {
        "endpoint": seaweedfs_facts.endpoint.replace("127.0.0.1", "localhost"),
        "key_file": write_key(directory, key.access_key, key.secret_key),
        "role_arn": seaweedfs_facts.role_arn,
        "user_bucket": "m-{user}",
    }
    with running_service(directory, options) as rig:
        yield rig.person("alice")


class Maker:
    """Makes values of the document's schemas."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._shapes = document["components"]["schemas"]

    def of(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        """Values that a schema allows; now and then others."""
        if "$ref" in schema:
            return self.of(self._shapes[schema["$ref"].rpartition("/")[2]])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "const" in schema:
            return st.just(schema["const"])
        if "anyOf" in schema:
            return st.one_of(*(self.of(one) for one in schema["anyOf"]))
        return getattr(self, f"_{schema.get('type', 'any')}")(schema)

    def _object(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        fields = schema.get("properties", {})
        needed = set(schema.get("required", ()))
        known = {name: self.of(shape) for name, shape in fields.items()}
        return st.fixed_dictionaries(
            {name: known[name] for name in needed},
            optional={name: known[name] for name in fields if name not in needed},
        )

    def _array(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        return st.lists(self.of(schema.get("items", {})), max_size=3)

    def _string(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if "pattern" in schema:
            return st.from_regex(schema["pattern"]) | st.just("m-alice")
        if schema.get("format") == "date-time":
            return st.datetimes().map(lambda at: f"{at.isoformat()}Z") | TEXT
        return TEXT

    def _integer(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        low, high = schema.get("minimum", -5), schema.get("maximum", 2**63)
        return st.integers(low, high) | st.integers()

    def _boolean(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        return st.booleans()

    def _null(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        return st.none()

    def _any(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        return JSON


def parts(person: Person, method: str, path: str) -> tuple[Any, Any]:
    """How to make the body and the query of an operation."""
    maker = Maker(person.document.value)
    operation = person.document.operation(method, path)
    body = st.none()
    if "requestBody" in operation:
        shape = operation["requestBody"]["content"]["application/json"]["schema"]
        body = maker.of(shape) | JSON
    query = st.fixed_dictionaries(
        {},
        optional={
            one["name"]: maker.of(one["schema"])
            for one in operation.get("parameters", ())
            if one["in"] == "query"
        },
    )
    return body, query


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_is_sent_is_an_internal_error(alice, name):
    method, _, path = name.partition(" ")
    path = path.replace("{bucket}", "m-alice").replace("{id}", "0123456789abcdef")
    body, query = parts(alice, method, path)

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(body, query)
    def run(value: Any, words: dict[str, Any]) -> None:
        try:
            alice.http.build_request(method, path, json=value, params=words)
        except ValueError:
            return  # httpx sends no NaN, and no half of a surrogate pair
        answer = alice.ask(method, path, value, **words)
        code = answer.json().get("error", {}).get("code", "")
        assert answer.status_code < 500 or code == "not-supported", answer.text

    run()
