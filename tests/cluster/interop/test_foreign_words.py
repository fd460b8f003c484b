"""Reading and writing what rocketmq-a2a says, without servers: bytes from anywhere raise nothing unexpected."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmesh.a2a.rocketmq.asked import choose, read_wish
from agentmesh.a2a.rocketmq.envelope import (
    Reply,
    Request,
    chunk,
    read_chunk,
    read_reply,
    read_request,
    write_reply,
    write_request,
)
from agentmesh.a2a.rocketmq.heard import Heard
from agentmesh.a2a.rocketmq.interface import Interface, interface_of
from agentmesh.a2a.rocketmq.rpc import RpcError, read_answer, read_asked, write_error, write_result
from agentmesh.a2a.rocketmq.tasks import Telling, task_of
from agentmesh.card import read_card
from agentmesh.errors import ConfigError, PayloadCorrupt
from agentmesh.message import Event, Message, encode_message

NAMES = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z").filter(lambda name: "agentmesh" not in name)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0.5, -1e300]) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


class ASkill(msgspec.Struct):
    input_schema: dict[str, Any]


TEXT_SKILL = ASkill({"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]})
SUM_SKILL = ASkill({"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]})


def sent(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"message": {"role": "user", "parts": list(parts), **more}}


def text(words: str) -> dict[str, str]:
    return {"kind": "text", "text": words}


# Envelopes


@given(TEXT, NAMES, NAMES, st.text("abcdef0123456789", min_size=1, max_size=32))
def test_a_request_is_read_as_it_was_written(body: str, topic: str, lite_topic: str, request_id: str) -> None:
    request = Request(body, topic, lite_topic, request_id)
    assert read_request(write_request(request, "Agent")) == request


@given(st.binary())
def test_bytes_are_no_request_and_no_reply_and_no_error(raw: bytes) -> None:
    assert read_request(raw) is None
    assert read_reply(raw) is None
    assert read_request(b"{" + raw) is None


ENVELOPE = {"requestBody": "{}", "workAgentResponseTopic": "replies", "liteTopic": "lite", "requestId": "1"}


@given(st.sampled_from(sorted(ENVELOPE)), JSON)
def test_an_envelope_with_another_field_is_read_or_refused(field: str, value: Any) -> None:
    found = read_request(json.dumps({**ENVELOPE, field: value}).encode())
    assert found is None or isinstance(value, str)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workAgentResponseTopic", "agentmesh-call"),
        ("workAgentResponseTopic", "team-agentmesh-mesh"),
        ("workAgentResponseTopic", "space%agentmesh-a2a"),
        ("workAgentResponseTopic", "a" * 128),
        ("workAgentResponseTopic", "two words"),
        ("liteTopic", "a.b"),
        ("liteTopic", "a\n"),
        ("requestId", ""),
        ("requestId", "a\0"),
        ("requestId", "1" * 129),
        ("requestBody", None),
    ],
)
def test_a_reply_address_that_cannot_be_is_refused(field: str, value: Any) -> None:
    assert read_request(json.dumps({**ENVELOPE, field: value}).encode()) is None


def test_nesting_and_size_are_bounded() -> None:
    assert read_request(b'{"requestHeader":' + b"[" * 1_000_000) is None
    assert read_request(json.dumps({**ENVELOPE, "requestBody": "x" * 5_000_000}).encode()) is None
    assert read_asked("[" * 1_000_000).error
    assert read_asked('{"method": "\\ud800"}').error


def test_a_task_of_ours_is_no_request() -> None:
    assert read_request(encode_message(Message(id="call-1", topic="T"))) is None


def test_a_reply_leaves_out_what_is_none() -> None:
    raw = json.loads(write_reply(Reply(request_id="1", stream=True, task_id="t")))
    assert raw == {"requestId": "1", "stream": True, "end": True, "taskId": "t"}


@given(TEXT.filter(lambda words: len(words.splitlines()) <= 1), st.integers(0, 10**9))
def test_a_chunk_is_read_as_it_was_written(body: str, number: int) -> None:
    encoded = json.dumps(body)
    assert read_chunk(chunk(encoded, number)) == (encoded, number)


@given(st.text())
def test_any_text_may_come_as_a_chunk(body: str) -> None:
    read_chunk(body)
    read_chunk(f"data: {body}")


# JSON-RPC


@given(st.text() | JSON.map(json.dumps))
def test_any_body_is_a_request_or_an_error(body: str) -> None:
    asked = read_asked(body)
    assert asked.error or asked.method


@given(st.none() | st.text(max_size=20).filter(str.isascii) | st.integers(-(2**53), 2**53), JSON)
def test_an_answer_is_read_as_it_was_written(number: Any, result: Any) -> None:
    assert msgspec.json.decode(write_result(number, result))["id"] == number
    assert read_answer(write_result(number, {"found": result})) == {"found": result}


@pytest.mark.parametrize("times", [0, 1, 2])
def test_an_error_may_be_encoded_more_than_once(times: int) -> None:
    body = write_error(1, RpcError(-32001, "no such task"))
    for _ in range(times):
        body = json.dumps(body)
    with pytest.raises(RpcError, match="no such task"):
        read_answer(body)
    with pytest.raises(RpcError, match="gone"):
        read_answer(json.dumps({"error": json.dumps({"code": -1, "message": "gone"})}))


@given(st.text() | JSON.map(json.dumps))
def test_any_reply_is_heard_or_refused(body: str) -> None:
    heard = Heard()
    try:
        heard.add(Reply(response_body=body))
    except (PayloadCorrupt, RpcError):
        return
    heard.value()


KINDS = st.sampled_from(["task", "message", "artifact-update", "status-update", "x"])
PARTS = st.lists(
    JSON | st.fixed_dictionaries({}, optional={"text": JSON, "data": JSON, "file": JSON, "kind": JSON}), max_size=3
)
RESULTS = st.fixed_dictionaries(
    {"kind": KINDS},
    optional={
        "id": JSON,
        "taskId": JSON,
        "append": JSON,
        "parts": PARTS,
        "artifact": st.fixed_dictionaries({"parts": PARTS}, optional={"artifactId": JSON}),
        "artifacts": st.lists(st.fixed_dictionaries({"parts": PARTS}) | JSON, max_size=3),
        "status": st.fixed_dictionaries(
            {"state": st.sampled_from(["working", "completed"])},
            optional={"message": JSON | st.fixed_dictionaries({"parts": PARTS}, optional={"metadata": JSON})},
        ),
    },
)


@given(st.lists(RESULTS, max_size=4))
def test_updates_of_any_shape_are_heard_or_refused(results: list[Any]) -> None:
    heard = Heard()
    for number, result in enumerate(results):
        try:
            heard.add(Reply(response_body=chunk(json.dumps({"result": result}), number), end=False))
        except PayloadCorrupt:
            return
    heard.value()


# Choosing


def test_a_text_becomes_the_only_required_text_parameter() -> None:
    assert choose(read_wish(sent(text("a"), text("b"))), {"s": TEXT_SKILL}, "T") == ("s", {"city": "a\nb"})


def test_data_is_the_input_as_it_is() -> None:
    wish = read_wish(sent({"kind": "data", "data": {"a": 1}}, metadata={"skill": "sum"}))
    assert choose(wish, {"s": TEXT_SKILL, "sum": SUM_SKILL}, "T") == ("sum", {"a": 1})


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({}, "message is missing"),
        (sent(text("x"), metadata={"skillId": "other"}), "no skill 'other'"),
        (sent(text("x")), "several skills"),
        (sent(text("x"), metadata={"skill": "sum"}), "one data part"),
        (sent(metadata={"skill": "s"}), "which becomes its 'city'"),
        (sent({"kind": "file", "file": {}}), "'file' part"),
        (sent(text("x"), contextId=3), "contextId is a text"),
        (sent(text("x"), taskId="x" * 300), "taskId is a text"),
    ],
)
def test_what_cannot_be_chosen_says_what_is_wanted(params: dict[str, Any], what: str) -> None:
    with pytest.raises(RpcError, match=what):
        choose(read_wish(params), {"s": TEXT_SKILL, "sum": SUM_SKILL}, "T")


@given(st.dictionaries(st.text(), JSON, max_size=3) | st.builds(sent, JSON, metadata=JSON, taskId=JSON))
def test_any_params_are_a_wish_or_an_error(params: dict[str, Any]) -> None:
    try:
        choose(read_wish(params), {"s": TEXT_SKILL}, "T")
    except RpcError as error:
        write_error(None, error)


# Tasks


def event(offset: int, kind: str, data: Any = None) -> Event:
    return Event(offset, kind, 1, 1_800_000_000_000 + offset, data or {})


def test_a_new_attempt_begins_the_output_anew() -> None:
    telling = Telling("call-1", "c")
    told = [
        update["append"]
        for each in ("accepted", "delta", "delta", "accepted", "delta")
        for update in telling.updates(event(1, each, {"text": "x"}))
        if update["kind"] == "artifact-update"
    ]
    assert told == [False, True, False]


@pytest.mark.parametrize(
    ("kind", "data", "state", "said"),
    [
        ("completed", {"result": 1}, "completed", None),
        ("failed", {"error": "ValueError", "message": "no"}, "failed", "ValueError: no"),
        ("cancelled", {"by": "me"}, "canceled", "It was cancelled by me."),
        ("timed_out", {}, "failed", "Its deadline passed."),
        ("dead_lettered", {"reason": "lost", "attempts": 3}, "failed", "lost, after 3 attempts"),
        ("input_required", {"question": "q", "text": "Which?"}, "input-required", "Which?"),
        ("retrying", {"error": "E", "not_before": 0}, "working", "It is tried again: E"),
    ],
)
def test_every_end_has_its_state(kind: str, data: Any, state: str, said: str | None) -> None:
    status = task_of("call-1", "c", [event(0, "submitted"), event(1, kind, data)])["status"]
    assert (status["state"], status["timestamp"]) == (state, "2027-01-15T08:00:00.001Z")
    assert (status["message"]["parts"][0]["text"] if said else status.get("message")) == said


@given(JSON | st.binary(max_size=8))
def test_any_result_can_be_told_and_heard(result: Any) -> None:
    task = task_of("call-1", "c", [event(1, "completed", {"result": result})])
    heard = Heard()
    heard.add(Reply(response_body=write_result(1, task)))
    assert heard.state == "completed"
    if isinstance(result, str):
        assert heard.value() == (result or "")


def test_a_stream_that_is_told_twice_counts_once() -> None:
    heard = Heard()
    telling = Telling("call-1", "c")
    updates = [each for word in ("a", "b") for each in telling.updates(event(1, "delta", {"text": word}))]
    for number, update in [(0, updates[0]), (1, updates[1]), (0, updates[0]), (1, updates[1])]:
        heard.add(Reply(response_body=chunk(write_result(1, update), number), end=False))
    assert heard.value() == "ab"


# Cards


def card(url: str, **more: Any) -> Any:
    return read_card({"name": "A", "version": "1", "description": "", "url": url, "skills": [], **more})


def test_the_interface_is_found_in_both_styles_of_card() -> None:
    place = "http://mq:8081/space/TheirTopic"
    assert interface_of(card(place, preferredTransport="RocketMQ")) == Interface("mq:8081", "space", "TheirTopic")
    more = [{"transport": "RocketMQ", "url": "http://mq:8081//TheirTopic"}]
    assert interface_of(card("http://web", additionalInterfaces=more)) == Interface("mq:8081", "", "TheirTopic")
    assert Interface("e", "space", "t").within("x") == "space%x"


@pytest.mark.parametrize("url", ["http://mq:8081/T", "http:///a/b", "http://u:p@mq/a/b", "http://mq/a/b/c", "http://["])
def test_an_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="http://<endpoint>/<namespace>/<topic>"):
        interface_of(card(url, preferredTransport="RocketMQ"))
    with pytest.raises(ConfigError, match="transport RocketMQ"):
        interface_of(card(url))
