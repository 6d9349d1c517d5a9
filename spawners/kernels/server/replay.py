"""Messages of a kernel that came while there was no notebook server.

They are handed on as if they came now. A cell that ended meanwhile had its reply sent
to a server that was gone: one is made for it, or it would be shown as running for ever.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any  # messages, and jupyter_server's connection

from jupyter_client.jsonutil import json_default
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1

from ..status import Missed

log = logging.getLogger(__name__)

_DELIMITER = b"<IDS|MSG>"
_V1 = "v1.kernel.websocket.jupyter.org"
_LOST = (
    "Landbridge: some output before this is lost. While the notebook server was away, "
    "more came than is kept.\n"
)

Frames = Sequence[Any]


def _part(frames: Frames, place: int) -> dict[str, Any]:
    """Return a part of a message: 0 header, 1 parent's header, 3 content."""
    try:
        start = [bytes(frame) for frame in frames].index(_DELIMITER) + 2
        found = json.loads(bytes(frames[start + place]))
    except (ValueError, IndexError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def message_id(frames: Frames) -> str:
    """Return a message's id, ``""`` if it has none."""
    return str(_part(frames, 0).get("msg_id", ""))


def replay(
    connection: Any, missed: Missed, since: Sequence[tuple[Any, Frames]]
) -> frozenset[str]:
    """Send what was missed to a websocket.

    Args:
        connection: the websocket's.
        missed: what its kernel published.
        since: streams and messages that came after the websocket was connected.

    Returns:
        The ids of the messages that were sent.
    """
    answered = {
        _part(frames, 1).get("msg_id")
        for stream, frames in since
        if getattr(stream, "channel", "") == "shell"
    }
    if missed.dropped and missed.messages:
        first = missed.messages[0]
        said = {"name": "stderr", "text": _LOST}
        _send(connection, "iopub", "stream", said, first)
    replies: dict[str, dict[str, Any]] = {}
    for frames in missed.messages:
        try:
            _hand_on(connection, frames)
        except ValueError as error:
            log.info("A message that was missed cannot be read: %s", error)
            continue
        header, parent, content = (_part(frames, place) for place in (0, 1, 3))
        asked = str(parent.get("msg_id", ""))
        if parent.get("msg_type") != "execute_request":
            continue
        reply = replies.setdefault(
            asked, {"status": "ok", "execution_count": None, "user_expressions": {}}
        )
        if content.get("execution_count") is not None:
            reply["execution_count"] = content["execution_count"]
        if header.get("msg_type") == "error":
            reply.update(content, status="error")
        ended = content.get("execution_state") == "idle"
        if ended and asked not in answered:
            _send(connection, "shell", "execute_reply", reply, frames)
    return frozenset(message_id(frames) for frames in missed.messages)


def _hand_on(connection: Any, frames: Frames) -> None:
    session = connection.session
    _, fed = session.feed_identities(list(frames))
    if connection.subprotocol == _V1:
        message = fed[1:]
    else:
        # The connection may have heard it while it was made, and told nobody.
        session.digest_history.discard(bytes(fed[0]))
        message = session.deserialize(fed)
    connection._on_zmq_reply(connection.channels["iopub"], message)


def _send(
    connection: Any,
    channel: str,
    kind: str,
    content: dict[str, Any],
    beside: Frames,
) -> None:
    """Send a message of ours in answer to what a kernel's message answers."""
    message = connection.session.msg(kind, content, parent=_part(beside, 1))
    # JupyterLab drops messages of a session that is not its kernel's newest.
    message["header"]["session"] = _part(beside, 0).get("session", "")
    if connection.subprotocol == _V1:
        packed = serialize_msg_to_ws_v1(message, channel, connection.session.pack)
        connection.write_message(packed, binary=True)
    else:
        message["channel"] = channel
        connection.write_message(json.dumps(message, default=json_default))
