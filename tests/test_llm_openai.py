"""OpenAIChat against a real HTTP server, and what it makes of an endpoint's every failure."""

import asyncio
import json
from typing import Any

import pytest

from agentmesh.contracts import Function, FunctionCall, Reply
from agentmesh.errors import ModelUnavailable
from agentmesh.llm.openai import OpenAIChat
from agentmesh.testing import Calls, Close, HalfStream, Hang, Item, ModelServer, Raw, Request

KEY = "sk-very-secret-0123456789"
ADD = Function("add", "Adds.", {"type": "object", "properties": {"a": {"type": "number"}}})
USER = {"role": "user", "content": "hello"}


async def ask(*script: Item, functions: tuple[Function, ...] = (), **settings: Any) -> tuple[Reply, ModelServer, str]:
    """The reply, the server it came from, and the text as it was streamed."""
    streamed: list[str] = []

    async def on_text(text: str) -> None:
        streamed.append(text)

    async with ModelServer(script) as server:
        chat = OpenAIChat("some-model", server.url, KEY, **({"max_retries": 0, "timeout": 5} | settings))
        try:
            reply = await chat.complete([USER], functions, key="run-1-step-1", on_text=on_text)
        finally:
            await chat.aclose()
    return reply, server, "".join(streamed)


async def failure(*script: Item, **settings: Any) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        await ask(*script, **settings)
    assert KEY not in str(caught.value)
    return str(caught.value)


def sse(*events: Any) -> Raw:
    body = "".join(f"data: {e if isinstance(e, str) else json.dumps(e)}\n\n" for e in events)
    return Raw(200, body, {"Content-Type": "text/event-stream"})


def delta(*calls: dict[str, Any], reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"delta": fields | ({"tool_calls": list(calls)} if calls else {}), "finish_reason": reason}]}


async def test_text_is_streamed_and_tokens_are_counted() -> None:
    reply, server, streamed = await ask("It will rain in 杭州 on Friday. 🌧")
    assert reply.text == streamed == "It will rain in 杭州 on Friday. 🌧"
    assert reply.calls == ()
    assert reply.input_tokens == 10
    assert reply.output_tokens > 1
    assert server.requests[0].body["model"] == "some-model"


async def test_the_key_of_a_request_is_its_idempotency_key() -> None:
    _, server, _ = await ask("yes")
    assert server.requests[0].headers["idempotency-key"] == "run-1-step-1"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_calls_come_whole_and_in_order() -> None:
    script = Calls(("add", {"a": 1, "text": "x" * 500}), ("add", '{"a": '), text="Let me see.")
    reply, server, streamed = await ask(script, functions=(ADD,))
    assert [(call.name, call.arguments) for call in reply.calls] == [
        ("add", json.dumps({"a": 1, "text": "x" * 500})),
        ("add", '{"a": '),
    ]
    assert reply.calls[0].id != reply.calls[1].id
    assert reply.text == streamed == "Let me see."
    assert server.requests[0].functions == [{"name": "add", "description": "Adds.", "parameters": ADD.parameters}]


async def test_options_go_into_the_request() -> None:
    _, server, _ = await ask("yes", options={"temperature": 0})
    assert server.requests[0].body["temperature"] == 0


async def test_an_endpoint_that_does_not_stream_is_understood() -> None:
    message = {
        "role": "assistant",
        "content": "whole",
        "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}],
    }
    answer = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    reply, _, streamed = await ask(Raw(200, answer))
    assert reply == Reply("whole", (FunctionCall("call_0", "add", '{"a": 1}'),), 3, 0)
    assert streamed == "whole"


HEAD, TAIL = {"name": "f", "arguments": '{"a"'}, {"arguments": ":1}"}


@pytest.mark.parametrize(
    "pieces",
    [
        [{"id": "x", "function": HEAD}, {"function": TAIL}],
        [{"index": 0, "function": HEAD}, {"index": 0, "function": TAIL}],
        [{"index": 0, "id": "x", "function": HEAD}, {"index": 0, "id": "x", "function": TAIL | {"name": "f"}}],
    ],
    ids=["no index", "no id", "id and name in every piece"],
)
async def test_calls_are_put_together_whatever_the_endpoint_leaves_out(pieces: list[Any]) -> None:
    reply, _, _ = await ask(sse(*map(delta, pieces), delta(reason="tool_calls"), "[DONE]"))
    assert [(call.name, json.loads(call.arguments)) for call in reply.calls] == [("f", {"a": 1})]
    assert all(call.id for call in reply.calls)


@pytest.mark.parametrize(
    "pieces",
    [
        [{"id": "x", "index": 0}, {"id": "y", "index": 0}],
        [{"id": "x"}, {"id": "y"}],
        [{}, {}],
        [{"id": "x", "index": 0}, {"id": "x", "index": 1}],
    ],
    ids=["all index 0", "ids alone", "neither", "same id"],
)
async def test_two_calls_stay_two_calls(pieces: list[dict[str, Any]]) -> None:
    calls = [piece | {"function": {"name": "f", "arguments": str(n)}} for n, piece in enumerate(pieces)]
    reply, _, _ = await ask(sse(delta(*calls), delta(reason="tool_calls"), "[DONE]"))
    assert [call.arguments for call in reply.calls] == ["0", "1"]
    assert len({call.id for call in reply.calls}) == 2


async def test_odd_chunks_are_passed_over() -> None:
    odd = [[], "3", {"choices": None}, {"choices": [None]}, {"choices": [{"delta": None}]}, {"usage": "many"}]
    reply, _, _ = await ask(sse(*odd, delta(content="ok", tool_calls=[None]), delta(reason="stop")))
    assert reply.text == "ok"


async def test_half_characters_do_not_get_in() -> None:
    reply, _, _ = await ask(sse('{"choices":[{"delta":{"content":"a\\ud83d"},"finish_reason":"stop"}]}'))
    assert reply.text == "a?"


async def test_a_busy_endpoint_is_asked_again_after_what_it_says() -> None:
    busy = Raw(429, {"error": {"message": "slow down"}}, {"Retry-After-Ms": "20"})
    reply, server, _ = await ask(busy, Raw(503, "down", {"Retry-After-Ms": "20"}), "now", max_retries=2)
    assert reply.text == "now"
    assert [r.headers["idempotency-key"] for r in server.requests] == ["run-1-step-1"] * 3


async def test_a_refused_connection_is_tried_again() -> None:
    reply, server, _ = await ask(Close(), "now", max_retries=1)
    assert reply.text == "now"
    assert len(server.requests) == 2


async def test_an_endpoint_that_does_not_count_tokens_is_asked_without() -> None:
    refusal = Raw(400, {"error": {"message": "Unrecognized request argument supplied: stream_options"}})
    reply, server, _ = await ask(refusal, "fine")
    assert reply.text == "fine"
    assert ["stream_options" in r.body for r in server.requests] == [True, False]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "limits"),
        (401, "OPENAI_API_KEY"),
        (403, "OPENAI_API_KEY"),
        (404, "AGENTMESH_MODEL"),
        (429, "try again later"),
        (500, "OPENAI_BASE_URL"),
        (418, "settings"),
    ],
)
async def test_a_refusal_says_what_to_do(status: int, advice: str) -> None:
    said = await failure(Raw(status, {"error": {"message": f"no, {KEY} will not do"}}))
    assert f"answered {status}: no, … will not do. " in said
    assert advice in said
    assert "some-model" in said
    assert "127.0.0.1" in said


async def test_the_cause_of_an_error_does_not_hold_the_key_either() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        await ask(Raw(401, {"error": {"message": f"bad key {KEY}"}}))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_retries_are_bounded() -> None:
    busy = Raw(429, {"error": {"message": "slow"}}, {"Retry-After-Ms": "10"})
    assert "answered 429" in await failure(busy, busy, busy, "too late", max_retries=2)


async def test_the_whole_wait_is_bounded() -> None:
    busy = Raw(429, {"error": {"message": "slow"}}, {"Retry-After": "100"})
    assert "did not finish its answer in 0.3 s" in await failure(busy, "too late", max_retries=5, patience=0.3)


async def test_silence_is_not_waited_for_for_ever() -> None:
    assert "did not answer within 0.2 s" in await failure(Hang(), timeout=0.2)


@pytest.mark.parametrize(
    ("item", "wrong"),
    [
        (Close(), "cannot be reached"),
        (HalfStream("Half of what was to be said, more or less."), "broke off"),
        (sse(delta(content="half")), "broke off"),
        (sse(delta(content="half"), "{no json"), "not JSON"),
        (sse({"error": {"message": "overloaded"}}), "overloaded"),
        (sse("[DONE]"), "without a completion"),
        (Raw(200, "<html>Welcome</html>", {"Content-Type": "text/html"}), "not JSON"),
        (Raw(200, "Welcome"), "without a completion"),
        (Raw(200, b"\xff\xfe", {"Content-Type": "text/event-stream"}), "not JSON"),
        (Raw(200, {"error": {"message": "no such model"}}), "no such model"),
        (Raw(200, {"ok": True}), "without a completion"),
        (Raw(200, [1]), "without a completion"),
        (Raw(200, b""), "without a completion"),
    ],
)
async def test_answers_that_are_none_are_told(item: Item, wrong: str) -> None:
    assert wrong in await failure(item)


async def test_an_empty_answer_is_given_as_it_is() -> None:
    reply, server, _ = await ask("", "too late")
    assert not reply.text
    assert not reply.calls
    assert len(server.requests) == 1


async def test_nobody_there_is_told() -> None:
    chat = OpenAIChat("m", "http://user:password@127.0.0.1:9/v1?token=abc", KEY, max_retries=0)
    with pytest.raises(ModelUnavailable, match=r"at http://127\.0\.0\.1:9/v1 cannot be reached"):
        await chat.complete([USER])
    await chat.aclose()


async def test_without_a_key_openai_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY"):
        await OpenAIChat("m").complete([USER])


async def test_an_endpoint_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with ModelServer(["hello"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        chat = OpenAIChat("m")
        assert (await chat.complete([USER])).text == "hello"
        await chat.aclose()


async def test_an_error_of_the_listener_passes_as_it_is() -> None:
    async def refuse(text: str) -> None:
        raise TimeoutError("the listener's own")

    async with ModelServer(["hello"]) as server:
        chat = OpenAIChat("m", server.url, KEY)
        with pytest.raises(TimeoutError, match="the listener's own"):
            await chat.complete([USER], on_text=refuse)
        await chat.aclose()


async def test_asking_can_be_cancelled_and_the_chat_used_again() -> None:
    asked = asyncio.Event()

    def hang(request: Request) -> Hang:
        asked.set()
        return Hang()

    async with ModelServer([hang, "hello"]) as server:
        chat = OpenAIChat("m", server.url, KEY)
        asking = asyncio.ensure_future(chat.complete([USER]))
        await asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await chat.complete([USER])).text == "hello"
        await chat.aclose()
        await chat.aclose()
