"""OpenAPI 3.1 from a service's table of routes and its pydantic models."""

from __future__ import annotations

from typing import Any  # JSON

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .errors import error_codes
from .routes import Model, Route, ServiceSpec

STREAM = "text/event-stream"
"""The media type of routes that stream."""

_JSON = "application/json"
_REFERENCE = "#/components/schemas/{model}"

_LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that was read, to go on from there.",
    "schema": {"type": "string"},
}


class ErrorFacts(Model):
    """What went wrong, to what, and what to try."""

    code: str
    """The kind of error, for programs."""
    message: str
    """What happened, for people."""
    hint: str
    """What to try; may be empty."""
    id: str
    """Names the request; also in the log."""
    field: str = ""
    """The value at fault, as `body.name`; empty if none is."""


class ErrorAnswer(Model):
    """The shape of every error of every service."""

    error: ErrorFacts
    """What went wrong."""


def document(spec: ServiceSpec[Any], prefix: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of a service that is served under ``prefix``."""
    used: list[tuple[type[BaseModel], Any]] = [(ErrorAnswer, "serialization")]
    for route in spec.routes:
        used.append((route.answer, "serialization"))
        used += [(model, "validation") for model in (route.query, route.body) if model]
    unique = list(dict.fromkeys(used))
    schemas, definitions = models_json_schema(unique, ref_template=_REFERENCE)
    codes = definitions["$defs"][ErrorFacts.__name__]["properties"]["code"]
    errors = error_codes(spec.errors, streams=spec.has_streams)
    codes["enum"] = list(dict.fromkeys(code for _, code in errors))
    paths: dict[str, dict[str, Any]] = {}
    for route in spec.routes:
        methods = paths.setdefault(f"/{route.path}", {})
        methods[route.method.lower()] = _operation(route, schemas)
    schemes = _schemes(spec)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": spec.title,
            "description": spec.description,
            "version": version,
        },
        "tags": [
            {"name": tag, "description": text}
            for tag, text in {route.tag: route.subject for route in spec.routes}.items()
        ],
        "servers": [{"url": f"{prefix}api/v1"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": schemes,
        },
    }


def _schemes(spec: ServiceSpec[Any]) -> dict[str, Any]:
    """Return the ways to say who asks."""
    schemes: dict[str, Any] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": f"service-{spec.name}",
            "description": "With X-XSRFToken: the value of the cookie _xsrf.",
        },
    }
    if any(route.key for route in spec.routes):
        schemes["key"] = {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of the service's own, which the hub does not know.",
        }
    return schemes


def _operation(route: Route[Any], schemas: Any) -> dict[str, Any]:
    needs = f"Needs the scope `{route.scope}`"
    if route.key is not None:
        needs += f", or a key to `{route.key.resource}` for `{route.key.verb}`"
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "description": f"{needs}.",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.parameters
        ],
        "responses": {
            str(route.status): {
                "description": route.answer.__doc__ or route.summary,
                "content": {
                    STREAM if route.streams else _JSON: {
                        "schema": schemas[(route.answer, "serialization")]
                    }
                },
            },
            "default": {
                "description": ErrorAnswer.__doc__,
                "content": _json(schemas[(ErrorAnswer, "serialization")]),
            },
        },
    }
    if route.query is not None:
        operation["parameters"] += _query_parameters(route.query)
    if route.key is not None:
        operation["security"] = [{"token": []}, {"session": []}, {"key": []}]
    if route.streams:
        operation["parameters"].append(_LAST_EVENT)
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": _json(schemas[(route.body, "validation")]),
        }
    return operation


def _json(schema: Any) -> dict[str, Any]:
    return {_JSON: {"schema": schema}}


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return a model of plain values as parameters of the query."""
    schema = model.model_json_schema(ref_template=_REFERENCE)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": value.pop("description", ""),
            "schema": value,
        }
        for name, value in schema["properties"].items()
    ]
