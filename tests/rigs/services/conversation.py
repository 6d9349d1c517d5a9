"""One conversation with the storage service that takes in every route of its table.

What is answered is kept in ``recorded/storage.json``: clients nobody here wrote rely on
it. The test that compares them writes the file anew when ``LANDBRIDGE_RECORD`` is set.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rigs.services.person import Person

RECORDED = Path(__file__).parent / "recorded" / "storage.json"
# What is another one each time: only its presence and its kind are compared.
_CHANGES = frozenset(
    {
        *("id", "share", "upload_id", "access_key", "secret_key", "session_token"),
        *("url", "rights", "endpoint", "gateway", "updated", "measured", "modified"),
        *("expires", "created", "started", "at"),
    }
)
_IN_TEXT = re.compile(r"[0-9a-f]{16,}|\d{4}-\d\d-\d\dT[\d:.+]+|\d\d:\d\d|\d+ days")


class Conversation:
    """Everything that was asked, in order, and what was answered."""

    def __init__(self) -> None:
        self.exchanges: list[dict[str, Any]] = []

    def ask(
        self, person: Person, method: str, path: str, body: Any = None, **query: Any
    ) -> Any:
        """Return the JSON of an answer, good or not, and write both down."""
        response = person.ask(method, path, body, **query)
        answer = response.json()
        self.exchanges.append(
            {
                "who": person.name,
                "asked": _IN_TEXT.sub("…", f"{method} {path}"),
                "body": _steady(body),
                "query": _steady(query),
                "status": response.status_code,
                "answer": _steady(answer),
            }
        )
        return answer


def _steady(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _steady(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_steady(inner) for inner in value]
    if value is None or (name not in _CHANGES and not isinstance(value, str)):
        return value
    if name in _CHANGES:
        return f"<{type(value).__name__}>"
    return _IN_TEXT.sub("…", value)


def talk(alice: Person, bob: Person) -> list[dict[str, Any]]:
    """Call every route, and call some wrongly; return what was said."""
    conversation = Conversation()
    _buckets(conversation, alice, bob)
    _objects(conversation, alice, bob)
    _uploads(conversation, alice)
    _tasks(conversation, alice, bob)
    _rights(conversation, alice, bob)
    return conversation.exchanges


def _buckets(said: Conversation, alice: Person, bob: Person) -> None:
    said.ask(alice, "GET", "me")
    said.ask(alice, "GET", "me", colour="red")
    said.ask(alice, "GET", "buckets")
    said.ask(alice, "POST", "buckets", {"name": "recorded"})
    said.ask(alice, "POST", "buckets", {"name": "recorded"})
    said.ask(alice, "POST", "buckets", {"name": "No Name"})
    said.ask(alice, "POST", "buckets", {"name": "x", "colour": "red"})
    said.ask(alice, "POST", "buckets")
    said.ask(alice, "GET", "buckets/m-alice/usage")
    said.ask(bob, "GET", "buckets/m-alice/usage")
    said.ask(alice, "DELETE", "buckets/alice--recorded")
    said.ask(alice, "DELETE", "buckets/alice--recorded")
    said.ask(alice, "DELETE", "buckets/m-alice")
    said.ask(bob, "GET", "buckets")


def _objects(said: Conversation, alice: Person, bob: Person) -> None:
    for key in ("a.txt", "folder/b.txt", "folder/c.txt"):
        alice.put(key, b"12345", "m-alice")
    hers = {"bucket": "m-alice", "key": "a.txt"}
    said.ask(alice, "GET", "objects", bucket="m-alice")
    said.ask(alice, "GET", "objects", bucket="m-alice", delimiter="", limit=2)
    said.ask(alice, "GET", "objects", bucket="m-alice", limit=0)
    said.ask(alice, "GET", "objects")
    said.ask(bob, "GET", "objects", bucket="m-alice")
    said.ask(alice, "GET", "objects/head", **hers)
    said.ask(alice, "GET", "objects/head", bucket="m-alice", key="none")
    said.ask(alice, "GET", "objects/versions", bucket="m-alice", prefix="folder/")
    said.ask(alice, "PUT", "objects/tags", {**hers, "tags": {"colour": "red"}})
    said.ask(alice, "GET", "objects/tags", **hers)
    said.ask(alice, "POST", "objects/restore", {**hers, "version": "none"})
    selection = {"bucket": "m-alice", "prefixes": ["folder/"], "keys": ["a.txt"]}
    said.ask(alice, "POST", "objects/count", selection)
    deleted = {"bucket": "m-alice", "keys": ["folder/c.txt"]}
    said.ask(bob, "POST", "objects/delete", deleted)
    said.ask(alice, "POST", "objects/delete", deleted)
    said.ask(alice, "POST", "urls/download", hers)
    said.ask(alice, "POST", "urls/download", {**hers, "key": "a/../b"})
    said.ask(alice, "POST", "urls/upload", {**hers, "size": 5})
    said.ask(alice, "POST", "urls/upload", {**hers, "size": 5, "overwrite": True})
    said.ask(alice, "POST", "urls/upload", {**hers, "size": -1})


def _uploads(said: Conversation, alice: Person) -> None:
    wish = {"bucket": "m-alice", "key": "parts", "size": 6 * 2**20}
    begun = said.ask(alice, "POST", "uploads", wish)
    upload = {"bucket": "m-alice", "key": "parts", "upload_id": begun["upload_id"]}
    said.ask(alice, "GET", "uploads", bucket="m-alice")
    said.ask(alice, "POST", "uploads/urls", {**upload, "parts": [{"number": 1}]})
    said.ask(alice, "GET", "uploads/parts", **upload)
    part = {"number": 1, "etag": "0" * 32}
    said.ask(alice, "POST", "uploads/complete", {**upload, "parts": [part, part]})
    said.ask(alice, "POST", "uploads/abort", upload)
    said.ask(alice, "GET", "uploads/parts", **upload)


def _tasks(said: Conversation, alice: Person, bob: Person) -> None:
    wish = {"kind": "copy", "source": {"bucket": "m-alice", "keys": ["a.txt"]}}
    said.ask(alice, "POST", "tasks", wish)
    wish |= {"bucket": "m-alice", "prefix": "copied/"}
    task = alice.finish(said.ask(alice, "POST", "tasks", wish))
    said.ask(alice, "GET", f"tasks/{task['id']}")
    said.ask(bob, "GET", f"tasks/{task['id']}")
    said.ask(alice, "POST", f"tasks/{task['id']}/cancel")
    said.ask(alice, "GET", "tasks")


def _rights(said: Conversation, alice: Person, bob: Person) -> None:
    keys = said.ask(alice, "POST", "credentials", {"purpose": "a program"})
    said.ask(alice, "POST", "credentials", {"seconds": 1})
    said.ask(alice, "GET", "credentials")
    said.ask(alice, "GET", f"credentials/{keys['id']}")
    said.ask(alice, "DELETE", f"credentials/{keys['id']}")
    said.ask(alice, "GET", f"credentials/{keys['id']}")
    said.ask(alice, "GET", "key")
    said.ask(alice, "PUT", "key", {"access_key": "a", "secret_key": "b"})
    said.ask(alice, "DELETE", "key")
    share = {"bucket": "m-alice", "kind": "user", "name": "bob"}
    shared = said.ask(alice, "POST", "shares", share)
    said.ask(alice, "POST", "shares", share | {"name": "nobody"})
    said.ask(bob, "POST", "shares", share)
    said.ask(alice, "GET", "shares")
    said.ask(bob, "GET", "buckets")
    said.ask(alice, "DELETE", f"shares/{shared['id']}")
    link = said.ask(alice, "POST", "links", {"bucket": "m-alice", "key": "a.txt"})
    said.ask(alice, "GET", "links")
    said.ask(alice, "DELETE", f"links/{link['id']}")
    said.ask(alice, "DELETE", f"links/{link['id']}")
    said.ask(alice, "GET", "audit")
    said.ask(alice, "GET", "audit", limit=2)


def read_recorded() -> list[dict[str, Any]]:
    """Return the conversation as it is to be."""
    exchanges: list[dict[str, Any]] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return exchanges


def write_recorded(exchanges: list[dict[str, Any]]) -> None:
    """Keep a conversation as it is to be from now on."""
    text = json.dumps(exchanges, indent=1, ensure_ascii=False)
    RECORDED.write_text(text + "\n", encoding="utf-8")
