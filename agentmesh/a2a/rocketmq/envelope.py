"""The envelopes of rocketmq-a2a: JSON objects that carry a JSON-RPC request or reply as a string.

A request is a NORMAL message on the agent's topic, a reply a LITE message on `workAgentResponseTopic` + `liteTopic`.
"""

import re
from typing import Annotated, Final

import msgspec

from agentmesh.message import INLINE_LIMIT

REPLIES: Final = "a2a-replies"
"""The kind of LiteTopics on which agentmesh itself receives such replies."""

FOLLOW_UPS: Final = "a2a"
"""The kind of LiteTopics on which agentmesh receives follow-ups."""

_OWN: Final = re.compile(r"(?:\A|[-%])agentmesh-(?!" + REPLIES + r"\Z)")
"""Topics of a mesh: whoever asks for a reply there wants us to write where he may not."""

_DECODING_ERRORS: Final = (ValueError, TypeError, RecursionError)

_Topic = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_%|-]{1,127}\Z")]
_LiteTopic = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
_RequestId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """`body` is JSON-RPC. Replies are wanted on the LiteTopic `lite_topic` of `reply_topic`, with this `request_id`."""

    body: str = msgspec.field(name="requestBody")
    reply_topic: _Topic = msgspec.field(name="workAgentResponseTopic")
    lite_topic: _LiteTopic = msgspec.field(name="liteTopic")
    request_id: _RequestId = msgspec.field(name="requestId")


class Reply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`response_body` is JSON-RPC, or a chunk of a stream. The last reply has `end`; that of a stream has no body.

    Follow-ups about `task_id` go to the LiteTopic `server_lite_topic` of `server_work_agent_response_topic`, if given.
    """

    response_body: str | None = None
    request_id: str = ""
    stream: bool = False
    end: bool = True
    context_id: str | None = None
    task_id: str | None = None
    server_work_agent_response_topic: str | None = None
    server_lite_topic: str | None = None


_requests: Final = msgspec.json.Decoder(Request)
_replies: Final = msgspec.json.Decoder(Reply)


def read_request(raw: bytes) -> Request | None:
    """None for whatever is no request: hostile bytes raise nothing."""
    if len(raw) > INLINE_LIMIT or raw[:1] != b"{":
        return None
    try:
        request = _requests.decode(raw)
    except _DECODING_ERRORS:
        return None
    if not request.request_id.isprintable() or _OWN.search(request.reply_topic):
        return None
    return request


def write_request(request: Request, agent_topic: str) -> bytes:
    """The message for the topic of an agent."""
    known: dict[str, object] = msgspec.to_builtins(request)
    return msgspec.json.encode({**known, "requestHeader": {}, "destAgentTopic": agent_topic})


def read_reply(raw: bytes) -> Reply | None:
    """None for whatever is no reply: hostile bytes raise nothing."""
    if len(raw) > INLINE_LIMIT or raw[:1] != b"{":
        return None
    try:
        return _replies.decode(raw)
    except _DECODING_ERRORS:
        return None


def write_reply(reply: Reply) -> bytes:
    """The message for the caller's LiteTopic; what is None is left out."""
    known: dict[str, object] = msgspec.to_builtins(reply)
    return msgspec.json.encode({name: value for name, value in known.items() if value is not None})


def chunk(body: str, number: int) -> str:
    """A piece of a stream, as a server-sent event. Numbers count from 0."""
    return f"data: {body}\nid: {number}\n\n"


def read_chunk(text: str) -> tuple[str, int | None]:
    """The body of a chunk and its number, if it has one; of what is no server-sent event, the text as it is."""
    data: list[str] = []
    number: int | None = None
    for line in text.splitlines() if text.lstrip().startswith(("data:", "id:", "event:")) else ():
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
        elif field == "id" and value.strip().isdecimal() and len(value) < 20:
            number = int(value)
    return ("\n".join(data), number) if data else (text, None)
