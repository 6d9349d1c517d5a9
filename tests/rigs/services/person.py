"""Somebody who calls the storage service, and the document that answers keep to."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema

from rigs.hub.process import until

PREFIX = "/services/storage/"


class Document:
    """The service's OpenAPI document, which every answer has to keep to."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """The operation that serves a path; fails if none is documented."""
        asked = path.split("?")[0].split("/")
        for template, methods in self.value["paths"].items():
            words = template.strip("/").split("/")
            same = len(words) == len(asked) and all(
                word.startswith("{") or word == part
                for word, part in zip(words, asked, strict=True)
            )
            if same and method.lower() in methods:
                return methods[method.lower()]
        raise AssertionError(f"{method} {path} is not in the document")

    def check(self, method: str, path: str, answer: httpx.Response) -> None:
        """Fail unless the answer has the documented shape."""
        responses = self.operation(method, path)["responses"]
        told = responses.get(str(answer.status_code), responses["default"])
        schema = told["content"]["application/json"]["schema"]
        whole = {**schema, "components": self.value["components"]}
        kind = jsonschema.Draft202012Validator
        kind(whole, format_checker=kind.FORMAT_CHECKER).validate(answer.json())


class Person:
    """Somebody with a token, who calls the REST API."""

    def __init__(self, name: str, port: int, document: Document, token: str):
        self.name = name
        self.document = document
        self.token = token
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}{PREFIX}api/v1/",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            trust_env=False,
            timeout=60,
        )

    def ask(
        self, method: str, path: str, body: object = None, **query: Any
    ) -> httpx.Response:
        """The answer, after a look whether it is as documented."""
        answer = self.http.request(
            method, path, json=body, params=query if query else None
        )
        self.document.check(method, path, answer)
        return answer

    def call(self, method: str, path: str, body: object = None, **query: Any) -> Any:
        """The JSON of an answer that has to be good."""
        answer = self.ask(method, path, body, **query)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def refused(
        self, method: str, path: str, body: object = None, **query: Any
    ) -> tuple[int, str]:
        """Status and code of an answer that has to be an error."""
        answer = self.ask(method, path, body, **query)
        assert answer.is_error, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.status_code, answer.json()["error"]["code"]

    def put(self, key: str, data: bytes, bucket: str = "", **more: Any) -> None:
        """Upload an object as a browser does."""
        wish = {"bucket": bucket or self.name, "key": key, "size": len(data), **more}
        signed = self.call("POST", "urls/upload", wish)
        answer = httpx.put(
            signed["url"], content=data, headers=signed["headers"], trust_env=False
        )
        assert answer.status_code == 200, answer.text

    def get(self, key: str, bucket: str = "") -> httpx.Response:
        """Download an object as a browser does."""
        wish = {"bucket": bucket or self.name, "key": key}
        return httpx.get(
            self.call("POST", "urls/download", wish)["url"], trust_env=False
        )

    def names(self, prefix: str = "", bucket: str = "") -> list[str]:
        """All keys under a prefix."""
        page = self.call(
            "GET",
            "objects",
            bucket=bucket or self.name,
            prefix=prefix,
            delimiter="",
        )
        return [found["key"] for found in page["objects"]]

    def finish(self, task: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
        """Wait until a task is over and return it."""

        def over() -> Any:
            found = self.call("GET", f"tasks/{task['id']}")
            ended = found["phase"] in ("done", "failed", "cancelled")
            return found if ended else None

        return until(f"task {task['id']} is over", over, seconds=seconds)


def preflight(url: str, origin: str) -> httpx.Response:
    """What a browser asks before it uploads from a page at ``origin``."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    return httpx.options(url, headers=headers, trust_env=False)


def check_preflight(url: str, origin: str) -> None:
    """Fail unless pages at ``origin`` may upload there, and others may not."""
    allowed = preflight(url, origin)
    assert allowed.headers.get("access-control-allow-origin") == origin, allowed
    foreign = preflight(url, "http://evil.example.org")
    assert "access-control-allow-origin" not in foreign.headers
