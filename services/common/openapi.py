"""OpenAPI 3.1 from a service's table of routes and its pydantic models."""

from __future__ import annotations

from typing import Any  # JSON

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .spec import Model, Route, ServiceSpec

_REFERENCE = "#/components/schemas/{model}"


class ErrorFacts(Model):
    """What went wrong, to what, and what to try; ``id`` is also in the log."""

    code: str
    message: str
    hint: str
    id: str
    field: str = ""


class ErrorAnswer(Model):
    """The shape of every error of every service."""

    error: ErrorFacts


def document(spec: ServiceSpec[Any], prefix: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of a service that is served under ``prefix``."""
    used: list[tuple[type[BaseModel], Any]] = [(ErrorAnswer, "serialization")]
    for route in spec.routes:
        used.append((route.answer, "serialization"))
        used += [(model, "validation") for model in (route.query, route.body) if model]
    unique = list(dict.fromkeys(used))
    schemas, definitions = models_json_schema(unique, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in spec.routes:
        methods = paths.setdefault(f"/{route.path}", {})
        methods[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": spec.title,
            "description": spec.description,
            "version": version,
        },
        "servers": [{"url": f"{prefix}api/v1"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": f"service-{spec.name}",
                    "description": "With X-XSRFToken: the value of the cookie _xsrf.",
                },
            },
        },
    }


def _operation(route: Route[Any], schemas: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"Needs the scope `{route.scope}`.",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.parameters
        ],
        "responses": {
            str(route.status): {
                "description": route.answer.__doc__ or route.summary,
                "content": _json(schemas[(route.answer, "serialization")]),
            },
            "default": {
                "description": ErrorAnswer.__doc__,
                "content": _json(schemas[(ErrorAnswer, "serialization")]),
            },
        },
    }
    if route.query is not None:
        operation["parameters"] += _query_parameters(route.query)
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": _json(schemas[(route.body, "validation")]),
        }
    return operation


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


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
