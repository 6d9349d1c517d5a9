"""One table says everything: errors, OpenAPI, and routes agree for each service."""

from __future__ import annotations

import inspect
import re

import jsonschema
import pytest

from services.common.web import errors as common
from services.common.web.errors import BadRequest, explain
from services.common.web.openapi import document
from services.storage.s3 import errors as storage_errors
from services.storage.spec import ERRORS, SPEC

DOCUMENT = document(SPEC, "/services/storage/", "0")


def test_every_error_of_a_store_has_a_status_and_a_code():
    for _, kind in inspect.getmembers(storage_errors, inspect.isclass):
        if issubclass(kind, storage_errors.StorageError):
            error = kind.__new__(kind)
            Exception.__init__(error, "what happened")
            problem = explain(error, ERRORS)
            assert problem is not None, kind
            assert 400 <= problem.status < 600
            assert re.fullmatch(r"[a-z-]+", problem.code)


def test_an_unknown_error_is_internal():
    assert explain(RuntimeError("secret"), ERRORS) is None


def test_the_one_shape_of_an_error():
    problem = explain(BadRequest("no", hint="try", field="body.x"), {})
    assert problem is not None
    assert problem.to_json("1") == {
        "error": {
            "code": "bad-request",
            "message": "no",
            "hint": "try",
            "id": "1",
            "field": "body.x",
        }
    }


def test_refusals_have_codes_of_their_own():
    kinds = [k for k in vars(common).values() if inspect.isclass(k)]
    codes = [k.code for k in kinds if issubclass(k, common.Refusal)]
    assert len(codes) == len(set(codes)) + 1  # BadRequest has its parent's


def test_every_route_is_in_the_document():
    told = {
        f"{method.upper()} {path.strip('/')}"
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
    }
    assert told == {f"{route.method} {route.path}" for route in SPEC.routes}


def test_operations_have_names_of_their_own_and_a_summary():
    names = [route.name for route in SPEC.routes]
    assert len(names) == len(set(names))
    for route in SPEC.routes:
        assert route.summary.endswith("."), route.path
        assert route.answer.__doc__, route.path


def test_every_field_that_is_sent_or_answered_has_a_meaning():
    untold = [
        f"{shape}.{name}"
        for shape, schema in DOCUMENT["components"]["schemas"].items()
        for name, field in schema.get("properties", {}).items()
        if not field.get("description")
    ]
    untold += [
        f"{path} {one['name']}"
        for path, methods in DOCUMENT["paths"].items()
        for operation in methods.values()
        for one in operation["parameters"]
        if one["in"] == "query" and not one["description"]
    ]
    assert untold == []


def test_every_code_is_told():
    told = DOCUMENT["components"]["schemas"]["ErrorFacts"]["properties"]["code"]["enum"]
    refusals = [
        kind.code
        for kind in vars(common).values()
        if inspect.isclass(kind)
        and issubclass(kind, common.Refusal)
        and (SPEC.has_streams or kind is not common.Outdated)
    ]
    assert {*refusals, "internal-error", *(code for _, code in ERRORS.values())} <= set(
        told
    )


def test_every_call_has_a_tag_that_is_told():
    told = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            assert set(operation["tags"]) <= told


def test_every_reference_in_the_document_leads_somewhere():
    schemas = DOCUMENT["components"]["schemas"]
    for name in re.findall(r"#/components/schemas/([\w-]+)", str(DOCUMENT)):
        assert name in schemas
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("route", SPEC.routes, ids=lambda r: f"{r.method} {r.path}")
def test_no_name_of_a_user_is_in_a_path(route):
    assert set(route.parameters) <= {"bucket", "id"}
    assert re.fullmatch(
        route.pattern, route.path.replace("{bucket}", "a--b").replace("{id}", "x")
    )
    assert not re.fullmatch(route.pattern, f"{route.path}/../x")
